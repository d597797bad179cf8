"""Emitting hot loops: the state's calls, one after the other, in one `for`.

What is emitted for a loop `step(n, chain())` that jumps back to itself:

    def step_loop(turn, n):
        for i in turn:
            chain_1 = chain()                                        # chain flow.py:12
            if chain_1.__class__ is not str_ and odd(chain_1): return i, 0, locals()
            result = step(n, chain_1)                                # step flow.py:20
            if result.__class__ is not Jump or ...: return i, result, (n, chain_1)
            n = result.data
        return i, result, (n, chain_1)

`turn` is a list of numbers: the iteration counter and the call for a turn in one. The ticker's thread clears
it when the event loop should have a turn, and the loop ends with the iteration it is in.

A result is looked at closely only where its class differs from the one that was seen while interpreting.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable
from time import perf_counter, time
from types import CoroutineType
from typing import Any

from cascade.compiler.source import Namer, comment, make_function
from cascade.spec.blueprint import Block, EntryPlan, TailCall
from cascade.spec.control import Jump
from cascade.spec.events import TaskExecutionFinished, TaskExecutionStarted
from cascade.spec.graph import Graph
from cascade.spec.operations import CALLN
from cascade.spec.placement import CallForm
from cascade.spec.signal import Signal

__all__ = ["ODD", "HotLoop", "emit_jump_loop", "emit_tail_loop"]

ODD = object()
"""In the place of a state's result: an instruction before it returned something that must be looked at."""

MOST_STEPS = 5_000

Updates = list[tuple[int, str | None]]
Watch = tuple[bool, bool]
"""Whether somebody wants to know of each start, and of each end of a call."""

RESERVED = ("i", "odd", "locals", "turn", "ticker", "result", "data", "Jump", "KEY", "ODD", "len")
PUBLISHING: dict[str, Any] = {
    "Started": TaskExecutionStarted,
    "Finished": TaskExecutionFinished,
    "new": tuple.__new__,
    "time": time,
    "clock": perf_counter,
    "publish": None,
    "first": None,
    "sites": None,
    "start": None,
}


class HotLoop:
    """An emitted loop, and what is needed to go on without it."""

    __slots__ = ("constants", "forms", "function", "is_async", "lines", "locals", "source")

    def __init__(
        self,
        function: Callable[..., Any],
        source: str,
        lines: dict[int, int],
        registers: list[dict[str, int]],
        forms: list[CallForm],
        constants: list[int],
    ) -> None:
        self.function = function
        self.source = source
        self.lines = lines
        """Which step each line carries out; the state's own call is the step after the last."""
        self.locals = registers
        """For each step: which local variables hold which registers once it has run."""
        self.forms = forms
        self.is_async = any(form.is_async for form in forms)
        self.constants = constants
        """The references that are passed behind the arguments."""

    def step_of(self, error: BaseException) -> tuple[int, int, float | None]:
        """Return which step and which iteration an error came out of, and when the call began if that was noted.

        All of it stands in the error's traceback.
        """
        found: tuple[int, int, float | None] = (len(self.locals), 0, None)
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is self.function.__code__:
                known = trace.tb_frame.f_locals
                found = self.lines.get(trace.tb_lineno, found[0]), known.get("i") or 0, known.get("start")
            trace = trace.tb_next
        return found


def emit_jump_loop(
    graph: Graph, block: Block, root: int, plan: EntryPlan, key: Any, updates: Updates, cls: type, watch: Watch
) -> HotLoop | None:
    """Return a loop for jumps with one key and data of one class back to a state; None if that cannot be one.

    Args:
        root: the register of the state.
        key: the key of the jumps, known by identity.
        updates: which registers the data of a jump goes into, and under which name; without a name it is the
            data itself.
        cls: the class of the data.
        watch: whether to publish the start and the end of each call.
    """
    if len(plan.steps) > MOST_STEPS or any(op > CALLN for _, op, _, _ in plan.steps):
        return None
    state = block.forms[root]
    assert state is not None
    if sum(form.is_async for form in (*(step[2] for step in plan.steps), state)) > 1:
        return None  # they could run side by side, which is the scheduler's business
    if not all(_is_word(name) for _, _, form, _ in plan.steps for name in form.names):
        return None
    return _Writer(graph, block, root, plan, watch).jump_loop(key, updates, cls)


def _is_word(name: str) -> bool:
    """Say whether a keyword can stand in a call as it is: `f(**{...})` takes names that are no identifiers."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


class _Writer:
    def __init__(self, graph: Graph, block: Block, root: int, plan: EntryPlan, watch: Watch) -> None:
        self.graph = graph
        self.block = block
        self.root = root
        self.plan = plan
        self.watch = watch
        self.namer = Namer()
        self.names: dict[str, Any] = {}
        self.text: list[str] = []
        self.lines: dict[int, int] = {}
        self.registers: list[dict[str, int]] = []
        self.functions: dict[CallForm, str] = {}
        self.classes: dict[type, str] = {}
        self.local: dict[int, str] = {}
        for reserved in (*RESERVED, *PUBLISHING):
            self.namer.name(reserved)

    def jump_loop(self, key: Any, updates: Updates, cls: type) -> HotLoop:
        plan = self.plan
        form = self.block.forms[self.root]
        assert form is not None
        forms = [*(step[2] for step in plan.steps), form]
        is_async = any(form.is_async for form in forms)
        parameters = [self.parameter(form, at) for at in range(plan.first_override, plan.size)]
        constants = sorted({at for at in self.reads() if at < 0}, reverse=True)
        parameters += [self.constant(at) for at in constants]
        parameters[:0] = ["turn", "ticker"] if is_async else ["turn"]
        if any(self.watch):
            parameters += ["publish", "first", "sites"]
            self.names |= PUBLISHING
        title = self.namer.name(f"{form.task.name}_loop")
        self.line(0, f"{'async ' if is_async else ''}def {title}({', '.join(parameters)}):")
        self.line(1, "i = result = None")
        self.line(1, "for i in turn:")
        last = self.last_reads()
        for step in range(len(plan.steps)):
            self.step(step, last)
        passed = [self.local[at] for at in plan.placed]
        self.made(len(plan.steps), f"result = {self.call(form, passed)}", self.said(self.root, form))
        self.line(2, f"if {self.leaves(updates, cls)}:")
        self.line(3, f"return i, result, ({', '.join(passed)}{',' if len(passed) == 1 else ''})")
        for at, name in updates:
            value = "result.data" if name is None else f"data[{self.value(name, name)}]"
            self.line(2, f"{self.local[at]} = {value}")
        if is_async:
            self.line(2, "if ticker.due or not ticker.armed:")
            self.line(3, "break")
        self.line(1, "return i, result, None")
        self.names |= {"KEY": key, "odd": is_odd, "locals": locals, "Jump": Jump, "len": len}
        source = "\n".join(self.text) + "\n"
        function = make_function(title, source, self.names)
        return HotLoop(function, source, self.lines, self.registers, forms, constants)

    def call(self, form: CallForm, passed: list[str]) -> str:
        return f"{'await ' if form.is_async else ''}{self.function(form)}({', '.join(passed)})"

    def leaves(self, updates: Updates, cls: type) -> str:
        """Return the condition under which a result is not a jump like the others."""
        tests = ["result.__class__ is not Jump", "result.target_key is not KEY"]
        names = [name for _, name in updates if name is not None]
        if not names:
            tests.append(f"result.data.__class__ is not {self.class_name(cls)}")
        else:
            tests.append(f"(data := result.data).__class__ is not {self.class_name(cls)}")
            tests.append(f"len(data) != {len(names)}")
            tests += [f"{self.value(name, name)} not in data" for name in names]
        return " or ".join(tests)

    def reads(self) -> list[int]:
        found = [at for step in self.plan.steps for at in self.block.references(step[0])]
        return found + self.plan.placed

    def last_reads(self) -> dict[int, int]:
        """Return the last step that reads each register."""
        last: dict[int, int] = {}
        for step, (i, *_) in enumerate(self.plan.steps):
            for at in self.block.references(i):
                last[at] = step
        for at in self.plan.placed:
            last[at] = len(self.plan.steps)
        return last

    def step(self, step: int, last: dict[int, int]) -> None:
        """Emit one call. A local whose last reader this is serves again, so no result is kept longer than needed."""
        i, _, form, _ = self.plan.steps[step]
        references = self.block.references(i)
        passed = [self.local[at] for at in references]
        if form.names:
            split = len(passed) - len(form.names)
            keywords = [f"{name}={at}" for name, at in zip(form.names, passed[split:], strict=True)]
            passed = passed[:split] + keywords
        free = [at for at in dict.fromkeys(references) if 0 <= at < self.plan.first_override and last[at] == step]
        target = None
        for at in free:
            name = self.local.pop(at)
            target = target or name
        self.local[i] = target = target or self.namer.name(f"{form.task.name}_value")
        self.made(step, f"{target} = {self.call(form, passed)}", self.said(i, form))
        seen = self.class_name(form.seen if form.seen is not None else type(None))
        self.line(2, f"if {target}.__class__ is not {seen} and odd({target}):")
        self.line(3, f"return i, ODD, ({step}, locals())")
        self.names["ODD"] = ODD
        self.registers.append({name: at for at, name in self.local.items() if at >= 0})

    def made(self, step: int, call: str, said: str) -> None:
        """Emit a call, and around it what is published of it."""
        started, finished = self.watch
        if started:
            self.line(2, f"publish(new(Started, (sites[{step}], time(), first + i)))")
        if finished:
            self.line(2, "start = clock()")
        self.lines[len(self.text) + 1] = step
        self.line(2, call, said)
        if finished:
            ending = '"Succeeded", clock() - start, None, None'
            self.line(2, f"publish(new(Finished, (sites[{step}], time(), first + i, {ending})))")

    def parameter(self, form: CallForm, register: int) -> str:
        shape = form.task.shape
        place = self.plan.placed.index(register) if register in self.plan.placed else -1
        known = shape.names[place] if shape is not None and 0 <= place < len(shape.names) else "data"
        name = self.local[register] = self.namer.name(known)
        return name

    def constant(self, reference: int) -> str:
        name = self.local[reference] = self.namer.name(f"constant_{-reference}")
        return name

    def function(self, form: CallForm) -> str:
        name = self.functions.get(form)
        if name is None:
            name = self.functions[form] = self.namer.name(form.task.name)
            self.names[name] = form.func
        return name

    def class_name(self, cls: type) -> str:
        name = self.classes.get(cls)
        if name is None:
            name = self.classes[cls] = self.namer.name(f"{cls.__name__}")
            self.names[name] = cls
        return name

    def value(self, value: Any, wish: str) -> str:
        for name, known in self.names.items():
            if known is value:
                return name
        name = self.namer.name(f"name_{wish}")
        self.names[name] = value
        return name

    def said(self, i: int, form: CallForm) -> str:
        number = self.block.source(i)
        return comment(f"{self.graph.name(number)} {self.graph.declared(number)}")

    def line(self, depth: int, text: str, said: str = "") -> None:
        line = "    " * depth + text
        self.text.append(f"{line:<60}  {said}".rstrip() if said else line)


def is_odd(value: Any) -> bool:
    """Say whether a result is more than a value: a signal, or something to await."""
    return isinstance(value, (Signal, CoroutineType))


def emit_tail_loop(form: CallForm, count: int, keywords: tuple[str, ...]) -> HotLoop | None:
    """Return a loop for tail calls of a task to itself that give the same arguments by name each time.

    Args:
        count: how many arguments a call has, all by position.
        keywords: the names that each tail call gives.
    """
    shape = form.task.shape
    if shape is None or not shape.faithful or any(shape.positions.get(name, count) >= count for name in keywords):
        return None
    namer = Namer()
    for reserved in ("i", "turn", "result", "TailCall", "given", "len"):
        namer.name(reserved)
    function, title = namer.name(form.task.name), namer.name(f"{form.task.name}_loop")
    arguments = [namer.name(shape.names[at]) for at in range(count)]
    names: dict[str, Any] = {function: form.func, "TailCall": TailCall, "len": len}
    words = {}
    for name in keywords:
        words[name] = namer.name(f"name_{name}")
        names[words[name]] = name
    tests = [
        "result.__class__ is not TailCall",
        "result.target_blueprint_id is not None",
        "result.args",
        f"len(given := result.kwargs) != {len(keywords)}",
        *(f"{words[name]} not in given" for name in keywords),
    ]
    passed = ", ".join(arguments)
    said = comment(f"{form.task.name} {form.task.declared}")
    listed = f"({passed}{',' if count == 1 else ''})"
    text = [
        f"def {title}(turn, {passed}):",
        "    i = result = None",
        "    for i in turn:",
        f"        {f'result = {function}({passed})':<52}  {said}",
        f"        if {' or '.join(tests)}:",
        f"            return i, result, {listed}",
        *(f"        {arguments[shape.positions[name]]} = given[{words[name]}]" for name in keywords),
        f"    return i, result, {listed}",
    ]
    source = "\n".join(text) + "\n"
    return HotLoop(make_function(title, source, names), source, {4: 0}, [], [form], [])
