"""What a run keeps of its steps when its graph has changed: `on_change="adapt"`.

No step is moved. What nodes are called in the keys of steps is a list in the fingerprint of the run, which is written
in the transaction that takes the run: a node that matches goes by the number that its match went by, any other by one
that nobody had before. So there is no moment at which a crash could leave half of it, keys for the world outside stay
as they were, and what nothing goes by any more is never read again. It is dropped when the run goes on, by this start
or a later one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice

from cascade.graph.matching import Matched, match, outline_of
from cascade.runtime.changes.fingerprint import Look
from cascade.runtime.frames.step_keys import Numbering
from cascade.spec.state import StepRecord

__all__ = ["adapt", "carry_over", "numbering_of", "stale", "tidied"]

NUMBERS = ("keys", "insides", "next")
"""What a fingerprint has of a graph whose nodes do not go by where they stand."""
STEP = re.compile(r"([0-9]+)!?(>|(?:~[0-9]+)?/)?")
"""One step of the way that a key is: a node, and how it goes on."""


def carry_over(old: Look, now: Look) -> None:
    """Let nodes go by what they went by, where the graph is the same."""
    now.update({name: old[name] for name in NUMBERS if name in old})


def numbering_of(look: Look) -> Numbering | None:
    """Return what the nodes of a program go by; None: by where they stand."""
    if "keys" not in look:
        return None
    inner = {(around, number): at for at, (_, around, number, _) in enumerate(look["graphs"])}
    return Numbering(look["keys"], [dict(pairs) for pairs in look["insides"]], inner)


def adapt(old: Look, now: Look) -> Matched:
    """Let the nodes of a program go by what those that they match went by, and return which match."""
    before, after = (outline_of(look["nodes"].values(), look["graphs"]) for look in (old, now))
    found = match(before, after)
    fresh = old.get("next", max(map(len, before.graphs)))
    went = numbering_of(old) or Numbering([None] * len(before.graphs), [{} for _ in before.graphs], {})
    place = {u: (at, u - graph.start) for at, graph in enumerate(before.graphs) for u in graph}
    known = {0, *(after.inner[v] for v in found.inside)}
    keys: list[list[int] | None] = []
    insides: list[list[tuple[int, int]]] = []
    for at, graph in enumerate(after.graphs):
        keys.append([] if at in known else None)  # else nothing was ever recorded under the way to it
        insides.append([(v - graph.start, went.inside(*place[found.inside[v]])) for v in graph if v in found.inside])
        for v in graph if at in known else ():
            u = found.same.get(v)
            keys[-1].append(fresh if u is None else went.key(*place[u]))  # type: ignore[union-attr]
            fresh += u is None
    now.update({"keys": keys, "insides": insides, "next": fresh})
    return found


def tidied(look: Look, steps: Mapping[str, StepRecord]) -> tuple[set[str], list[StepRecord]]:
    """Return the keys of the steps of nodes that there are no more, and the steps whose nodes have another name now."""
    numbering = numbering_of(look)
    if numbering is None:
        return set(), []
    names = iter(look["nodes"])
    named = [[*islice(names, size)] for size, *_ in look["graphs"]]
    gone: set[str] = set()
    renamed: list[StepRecord] = []
    for step in steps.values():
        if not step.task_id and not step.key[:1].isdigit():
            continue
        place = _place(numbering, step.key)
        if place is None:
            gone.add(step.key)
        elif place[1] >= 0 and (found := re.fullmatch("(.*#[0-9]+)(.*)", step.task_id, re.DOTALL)):
            name = named[place[0]][place[1]]
            if found[1] != name:
                renamed.append(step._replace(task_id=name + found[2]))
    return gone, renamed


def _place(numbering: Numbering, key: str) -> tuple[int, int] | None:
    """Return the graph and the node that a step belongs to, -1 if it does not say so; None: there is none any more."""
    graph, at = 0, 0
    while (found := STEP.match(key, at)) is not None:
        at = found.end()
        is_inside = found[2] is not None and found[2] != ">"
        number = (numbering.outer if is_inside else numbering.node)(graph, int(found[1]))
        if number is None:
            return None
        if found[2] is None:
            return (graph, -1) if key[at : at + 1] == ":" else (graph, number)
        if is_inside:
            graph = numbering.inner[graph, number]
    return graph, -1


def stale(look: Look, nodes: Iterable[int]) -> set[int]:
    """Return what some nodes of the run's own graph go by in the keys of steps, and what is inside of them."""
    numbering = numbering_of(look)
    if numbering is None:
        return {*nodes}
    return {number for i in nodes for number in (numbering.key(0, i), numbering.inside(0, i))}
