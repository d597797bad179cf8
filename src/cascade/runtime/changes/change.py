"""What a start of a known run makes of a program that has changed since: which steps keep their values.

The graph is judged first, then the code of tasks with recorded steps. Whatever is found is said in the fingerprint that
the start commits when it takes the run; only then steps are dropped, which a crash may leave to the next start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cascade.errors import RunChangedError
from cascade.runtime.changes.adaptation import adapt, carry_over, stale, tidied
from cascade.runtime.changes.fingerprint import Look, dependents, differences, entered, owners_of
from cascade.runtime.frames.step_keys import number_of
from cascade.spec.state import StepRecord

__all__ = ["DROPPED", "Change", "without"]

DROPPED = "-"
"""The key of what says that the steps that a start with `on_change="rerun"` runs again are gone; its entry is the epoch
of that start."""


class Change:
    """What has changed of the program of one run, and what its steps are now.

    Args:
        old: its fingerprint when it was started last.
        now: what it looks like; what nodes go by, and which code recorded values were made by, is put in.
        how: "keep", "rerun", "adapt" or "error".
        warn: tells whom it may concern; takes a code and a message.

    Raises:
        RunChangedError: its graph is another one, and `how` is not "adapt".
    """

    def __init__(
        self,
        run_id: str,
        old: Look,
        now: Look,
        steps: Mapping[str, StepRecord],
        how: str,
        warn: Callable[[str, str], None],
    ) -> None:
        self.run_id, self.old, self.now, self.steps, self.how, self.warn = run_id, old, now, steps, how, warn
        found = differences(old, now) if old["schema"] == now["schema"] else []
        self.is_adapted = bool(found)
        """Whether the graph is another one than before."""
        self.gone: set[str] = set()
        """The keys of steps that do not count any more."""
        self.renamed: list[StepRecord] = []
        """Steps whose nodes have another name now."""
        if found and how != "adapt":
            self._refuse(found)

    def judge(self, epoch: int) -> dict[str, StepRecord]:
        """Return the steps that keep their values when the run goes on in its start `epoch`.

        Raises:
            RunChangedError: tasks with recorded steps have other code now, and `how` is "error".
        """
        steps = dict(self.steps)
        if self.is_adapted:
            self._adapt()
        else:
            carry_over(self.old, self.now)
        self.gone, self.renamed = tidied(self.now, steps)
        live = {key: step for key, step in steps.items() if key not in self.gone}
        again = self._again(live)
        if again:
            self.now["again"] = {"epoch": epoch, "nodes": sorted(again)}
        kept = without(live | {step.key: step for step in self.renamed}, again)
        self.renamed = [step for step in self.renamed if step.key in kept]
        self.gone |= live.keys() - kept.keys()
        return kept

    def _refuse(self, found: list[str]) -> None:
        vague = ", ".join(self.now["vague"])
        raise RunChangedError(
            f"run {self.run_id!r} was recorded with another graph:\n  "
            + "\n  ".join(found)
            + ("\n  (a literal without content counts by its type: " + vague + ")" if vague else "")
            + '\nStart it with on_change="adapt" to keep what still matches and run the rest, with the graph that it '
            "had, or under another run_id. A value that is a new one each time (datetime.now()) is given as a cs.Param."
        )

    def _adapt(self) -> None:
        """Let what matches keep its steps, and tell of the rest."""
        matched = adapt(self.old, self.now)
        names, before = [*self.now["nodes"]], [*self.old["nodes"]]
        new = [name for v, name in enumerate(names) if v not in matched.same]
        kept = {*matched.same.values()}
        lost = [name for u, name in enumerate(before) if u not in kept]
        self.warn(
            "GraphAdapted",
            f"the graph has changed since the run was recorded: {len(matched.same)} of {len(names)} nodes keep what is "
            f"recorded of them; new or changed: {_listed(new)}; gone or changed: {_listed(lost)}",
        )

    def _again(self, steps: Mapping[str, StepRecord]) -> set[int]:
        """Look for tasks whose code is another one; return what the nodes go by whose steps do not count any more.

        Of a task whose steps keep their values the store keeps the code that these were made by, too: who reads the
        warning and starts the run with "rerun" is to get that.
        """
        old, now = self.old, self.now
        mark = steps.get(DROPPED)
        again = set[int]()
        if "again" in old and (mark is None or mark.entry != old["again"]["epoch"]):
            again.update(old["again"]["nodes"])  # the start that was to drop them ended before it did
        if old["schema"] != now["schema"] or old["python"] != now["python"]:
            self.warn(
                "CodeNotCompared", "the code of its tasks is not compared: it was recorded by another version of Python"
            )
            return again
        changed = self._changed(without(steps, again))
        shown = {name: f"task {name!r} ({', '.join(parts[:5])})" for name, parts in changed.items()}
        if changed and self.how == "error":
            raise RunChangedError(
                f"the code of tasks of run {self.run_id!r} has changed since their steps were recorded: "
                + "; ".join(shown.values())
                + '; start it with on_change="keep" to keep their values, or "rerun" to run them again'
            )
        if self.how == "rerun":
            owners = owners_of(now)
            first = {owners[node] for node, task in now["tasks"].items() if task in changed}
            return again | stale(now, dependents(now, first))
        for name, words in shown.items():
            now["code"][name] = old["code"][name]
            self.warn(
                "CodeChanged",
                f"the code of {words} has changed since its steps were recorded, which keep their values; "
                'start the run with on_change="rerun" to run them again',
            )
        return again

    def _changed(self, steps: Mapping[str, StepRecord]) -> dict[str, list[str]]:
        """Return the tasks with recorded steps whose code is another one, each with what of it is."""
        before = self.old["code"]
        differ = {name: parts for name, parts in self.now["code"].items() if before.get(name, parts) != parts}
        if not differ:
            return {}
        recorded = {step.task_id for step in steps.values() if step.kind in ("value", "loop", "left out")}
        nodes = {found[0] for each in recorded if (found := re.match(".*#[0-9]+", each, re.DOTALL))}
        names = {self.old["tasks"].get(node) for node in entered(self.old, nodes)}
        return {
            name: [part for part in {**parts, **before[name]} if parts.get(part) != before[name].get(part)]
            for name, parts in differ.items()
            if name in names
        }


def without(steps: Mapping[str, StepRecord], numbers: set[int]) -> dict[str, StepRecord]:
    """Return the steps but for those of some nodes of the run's own graph, with all that is inside of these."""
    return {key: step for key, step in steps.items() if number_of(key) not in numbers} if numbers else {**steps}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more if names else "none"
