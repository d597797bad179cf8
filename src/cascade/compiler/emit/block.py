"""Writing instructions as lines of Python: a local variable for each result, `if` for routes and conditions.

The names are those of the arguments that the values are passed as, so a chain of calls reads

    rows = load(path)                                            # load flow.py:12
    if rows.__class__ is not list: odd(rows)
    rows = clean(rows)                                           # clean flow.py:16

The second line is how every result is looked at for signals: a result of the class that was seen before cannot be
one, and `odd` raises `Deoptimize` where one is. What the local variables hold at each line is noted, so that the
interpreter can go on from any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from cascade.compiler.analysis.skipping import skipping
from cascade.compiler.code.source import Namer, comment
from cascade.compiler.code.source_writer import CannotEmit, DeoptPoint, SourceWriter
from cascade.spec.operations import CALLN, GATED, IMPORT, OPTIONAL, PACK, SUBFLOW

if TYPE_CHECKING:
    from cascade.spec.blueprint import Block, Blueprint
    from cascade.spec.graph import Pack
    from cascade.spec.placement import CallForm

__all__ = ["PIECE", "BlockEmitter", "Branch"]

PIECE = 200
"""After so many calls, code without a loop asks whether the event loop should have a turn."""

Longer: TypeAlias = "Callable[[BlockEmitter, int], None]"


class BlockEmitter:
    """The instructions of one block, as far as one entry needs them."""

    def __init__(
        self,
        writer: SourceWriter,
        blueprint: Blueprint,
        block: Block,
        certain: Container[int],
        longer: Mapping[int, Longer],
        entry: int = -1,
    ) -> None:
        self.writer = writer
        self.blueprint = blueprint
        self.graph = blueprint.graph
        self.block = block
        self.certain = certain
        """The registers that get a value anyway; others only when they are asked for."""
        self.longer = longer
        """What writes the instructions that take more than a line, by their kind."""
        self.entry = entry
        self.depth = 1
        self.pause = ""
        """What to write in long code, where the event loop may need a turn."""
        self.rests = False
        """Whether the event loop may have a turn behind an await, where much may have changed."""
        self.turn_over = ""
        """The test of whether the event loop should have a turn, where more follows than a few calls; or none."""
        self.loose: Container[int] = ()
        """Maps and loops that have shown to be better left to the interpreter."""
        self.inner: dict[int, Any] = {}
        """The loops among the instructions, as far as it is known how they go on."""
        self.instances: dict[int, str] = {}
        """The variables that hold the instances of their nodes, which count their entries."""
        self.local: dict[int, str] = {}
        """The local variable of each register and constant that has a value here."""
        self.shared: dict[int, str] = {}
        """What is asked for late and from several places: its variable is PENDING until it has run."""
        self.own: dict[int, str] = {}
        """Variables that were chosen for registers before."""
        self.flags: dict[int, str] = {}
        """For calls that may be skipped: the variable that holds why, or None."""
        self._bases: dict[str, str] = {}
        self._free: dict[str, list[str]] = {}
        self.wishes: dict[int, str] = {}
        self.skips, self.lacks = skipping(block) if blueprint.skips else (frozenset(), frozenset())
        self.given: set[int] = set()
        """What has a value before: none of it was skipped."""
        self.left: list[str] = []
        """Variables that were freed last, and hold values still."""
        self._written = 0

    # --- names

    def wish(self, steps: Iterable[int], more: Iterable[tuple[int, str]] = ()) -> None:
        """Choose names for values: that of the argument which their first reader takes them as."""
        for i in steps:
            if self.block.forms[i] is not None and self.block.ops[i] != IMPORT:
                names = self.graph.argument_names(self.block.source(i))
                more = [*more, *zip(self.block.references(i), names, strict=False)]
        for reference, name in more:
            if not name.isdigit():
                self.wishes.setdefault(reference, name)

    def base(self, register: int) -> str:
        """Return what the variable of a register would best be called."""
        wish = self.wishes.get(register)
        if wish is None:
            form = self.block.forms[register] if register >= 0 else None
            wish = "value" if form is None else f"{form.task.name}_value"
        return Namer.base(wish)

    def take(self, register: int) -> str:
        """Return a variable for a register: a free one, or a new one."""
        if register in self.shared or register in self.own:
            return self.shared.get(register) or self.own[register]
        return self.variable(self.base(register))

    def variable(self, base: str) -> str:
        """Return a free variable of this name, or a new one."""
        free = self._free.get(base)
        name = free.pop() if free else self.writer.namer.name(base)
        self._bases[name] = base
        return name

    def hold(self, register: int, name: str) -> None:
        """Note that a variable holds a register from here on."""
        self.local[register] = name
        self.writer.deopt_log.append(("set", register, name))

    def drop(self, register: int) -> str:
        """Note that nobody needs the variable of a register any more; return it."""
        name = self.local.pop(register)
        self.writer.deopt_log.append(("drop", register, name))
        return name

    def place(self, register: int, is_over: bool = False) -> DeoptPoint:
        """Return where the next line is: in the call of an instruction, or behind it."""
        return self.writer.place(self.entry, register, is_over)

    def said(self, i: int) -> str:
        """Return the comment of an instruction: its name and where it was declared."""
        number = self.block.source(i)
        return comment(f"{self.graph.name(number)} {self.graph.declared(number)}")

    # --- instructions

    def write(self, steps: list[int], kept: Iterable[int]) -> None:
        """Write instructions in this order; the registers `kept` are read later."""
        self.given = set(self.local)
        self.shared = self.asked_for_twice(steps)
        for register, name in self.shared.items():
            self.writer.line(self.depth, f"{name} = {self.writer.mark('PENDING')}")
            self.writer.deopt_log.append(("set", register, name))
        last: dict[int, int] = {}
        for at, i in enumerate(steps):
            for reference in self.reads(i):
                last[reference] = at
        ended: dict[int, list[int]] = {}
        kept = {*kept, *self.shared}
        for register, at in last.items():
            if register >= 0 and register not in kept:
                ended.setdefault(at, []).append(register)
        for at, i in enumerate(steps):
            if self.pause and at and at % PIECE == 0:
                self.writer.line(self.depth, self.pause, "", self.place(-1))
            dying = [register for register in ended.get(at, ()) if self.local.get(register) in self._bases]
            names = self.left
            self.instruction(i)
            if self.left is names:  # no sub-flow took them over
                left = [name for name in names if name in self._free.get(self._bases[name], ())]
                self.left = left if at == len(steps) - 1 else []
                if left and not self.left:
                    self.writer.line(self.depth, f"del {', '.join(left)}")
            # What a call was given is kept until its result was looked at: a tail call may go on with it.
            names = [self.drop(register) for register in dying if register in self.local]
            self.free(names)

    def free(self, names: Iterable[str]) -> None:
        """Let variables be used for something else."""
        for name in names:
            self._free.setdefault(self._bases[name], []).append(name)
        self.left = [*names, *self.left]

    def inside(self, blueprint: Blueprint) -> BlockEmitter:
        """Return what writes a sub-flow here, with variables that are free here."""
        inner = BlockEmitter(
            self.writer, blueprint, blueprint.root, range(blueprint.root.strict), self.longer, self.entry
        )
        inner.depth, inner._bases, inner._free, inner.left = self.depth, self._bases, self._free, self.left
        return inner

    def leave_inside(self, inner: BlockEmitter) -> None:
        """Take over the variables of a sub-flow that is written."""
        self._free, self.left = inner._free, list(inner.left)

    def reads(self, i: int) -> set[int]:
        """Return all references that the lines of an instruction may read."""
        found: set[int] = set()
        stack = [i]
        while stack:
            at = stack.pop()
            for reference in (*self.block.needs(at), *self.block.late_needs(at)):
                if reference not in found:
                    found.add(reference)
                    if reference >= 0 and reference not in self.certain:
                        stack.append(reference)
        return found

    def asked_for_twice(self, steps: list[int]) -> dict[int, str]:
        """Return variables for what several instructions may ask for, or whose skips somebody wants to know of."""
        asked: dict[int, int] = {}
        seen: set[int] = set()
        stack = list(steps)
        while stack:
            i = stack.pop()
            if i in seen:
                continue
            seen.add(i)
            found = {at for late in self.block.late_needs(i) for at in self.closure(late) if at not in self.certain}
            for at in found:
                asked[at] = asked.get(at, 0) + 1
            stack += found
        return {
            at: self.take(at)
            for at in sorted(asked)
            if asked[at] > 1 or (self.writer.watch[2] and self.block.kinds[at] <= CALLN)
        }

    def closure(self, reference: int) -> set[int]:
        """Return what must run for a reference, as far as it has not run for certain."""
        found: set[int] = set()
        stack = [reference]
        while stack:
            at = stack.pop()
            if at >= 0 and at not in found and at not in self.local:
                found.add(at)
                stack += self.block.needs(at)
        return found

    def instruction(self, i: int) -> None:
        """Write one instruction."""
        self._written += 1
        if self._written > 4 * len(self.block) + 200:
            raise CannotEmit("size")
        op = self.block.ops[i]
        if op <= CALLN:
            self.call(i)
        elif op == GATED:
            self.gated(i)
        elif op == PACK:
            self.pack(i)
        elif op == OPTIONAL:
            (reference,) = self.block.references(i)
            value, name = self.local[reference], self.take(i)
            test = f"None if {value} is {self.writer.mark('NOTHING')} else " if self.may_lack(reference) else ""
            self.writer.line(self.depth, f"{name} = {test}{value}")
            self.hold(i, name)
        elif op in self.longer:
            self.longer[op](self, i)
        else:
            raise CannotEmit({SUBFLOW: "sub-flow"}.get(op, "policy"))

    def call(self, i: int, name: str | None = None) -> None:
        """Write a call that nothing keeps from being made."""
        block, writer = self.block, self.writer
        form = block.forms[i]
        assert form is not None
        gate = block.gates.get(i)
        if gate is not None and (gate.terms.retry is not None or gate.terms.asks) and any(writer.watch):
            raise CannotEmit("policy")  # its attempts are told as one call
        references = block.references(i)
        passed = [self.local[at] for at in references]
        split = len(passed) - len(form.names)
        more = self.resources(i, form, split) if gate is not None and gate.terms.asks else {}
        passed = [more.pop(at, local) for at, local in enumerate(passed)]
        named = [*zip(form.names, passed[split:], strict=True), *more.items()]
        is_kept = gate is not None and gate.terms.cache is not None
        if gate is not None and gate.terms.cache is not None:
            where = self.entry, i, None
            text = writer.passed(writer.take(where, (form, gate.terms.cache), "kept"), passed[:split], named)
        else:
            text = writer.called(form, passed[:split], named)
        place = self.place(i)
        if name is None:
            name = self.take(i)
        writer.call(self.depth, place, (self.entry, i), f"{name} = {text}", self.said(i))
        if is_kept:
            writer.line(self.depth, f"if {name} is {writer.mark('PENDING')}: {writer.deoptimize()}", "", place)
        self.hold(i, name)
        if is_kept and form.seen is None:  # it may never be called
            writer.line(self.depth, f"{writer.look()}({name})", "", self.place(i, True))
            return
        writer.looked_at(self.depth, name, form, self.place(i, True), form.is_async and self.rests)

    def resources(self, i: int, form: CallForm, placed: int) -> dict[Any, str]:
        """Return the variables of the resources that a call takes: by names of arguments, or by their places."""
        writer, found = self.writer, dict[Any, str]()
        for at, wanted in self.block.injected(i, self.graph.constants):
            where = self.entry, i, at
            found[at] = writer.take(where, where, wanted.name)
        for name, wanted in (form.needs_behind(placed) or {}).items() if form.task.needs else ():
            found[name] = writer.take((self.entry, i, name), wanted, name)
        return found

    def pack(self, i: int) -> None:
        """Write a container."""
        pack: Pack = self.graph.nodes[self.block.source(i)]
        references = self.block.references(i)
        items = [self.local[at] for at in references]
        if pack.keys is not None:
            keys = [self.writer.value(key, f"key_{key}" if isinstance(key, str) else "key") for key in pack.keys]
            text = "{" + ", ".join(f"{key}: {item}" for key, item in zip(keys, items, strict=True)) + "}"
        elif pack.type is list or pack.remake is not None:
            text = f"[{', '.join(items)}]"
        elif pack.type is tuple:
            text = f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        else:
            text = f"{self.writer.value(pack.type, pack.type.__name__)}({', '.join(items)})"
        if pack.remake is not None:
            text = f"{self.writer.value(pack.remake, pack.type.__name__)}({text})"
        lacking = [self.local[at] for at in dict.fromkeys(references) if self.may_lack(at)]
        if lacking:
            nothing = self.writer.mark("NOTHING")
            text = f"{nothing} if {' or '.join(f'{one} is {nothing}' for one in lacking)} else {text}"
        name = self.take(i)
        self.writer.line(self.depth, f"{name} = {text}", "", self.place(i))
        self.hold(i, name)

    # --- what may be skipped

    def may_skip(self, reference: int) -> bool:
        """Say whether an instruction that stands here may be skipped."""
        return reference in self.skips and reference not in self.given

    def may_lack(self, reference: int) -> bool:
        """Say whether an instruction that stands here may give its readers nothing."""
        return reference in self.lacks and reference not in self.given

    def flag(self, i: int, name: str) -> str:
        """Return the variable that says why an instruction was skipped."""
        if i not in self.flags:
            self.flags[i] = self.writer.namer.name(f"{name}_skipped")
        return self.flags[i]

    def absent(self, reference: int) -> str | None:
        """Return the test of whether a condition or selector finds nothing; it never sees a passed-through value."""
        gate = self.block.gates.get(reference)
        if self.may_skip(reference) and (self.block.ops[reference] != GATED or gate is None):
            raise CannotEmit("strict")
        if self.may_skip(reference) and gate is not None and self.may_skip(gate.otherwise or -1):
            raise CannotEmit("strict")
        if self.may_skip(reference) and gate is not None and gate.otherwise is None and gate.first is not None:
            return f"{self.flags[reference]} is not None"
        return f"{self.local[reference]} is {self.writer.mark('NOTHING')}" if self.may_lack(reference) else None

    def gated(self, i: int) -> None:
        """Write a call that a condition, an order or a skipped input may keep from being made."""
        block, writer, gate = self.block, self.writer, self.block.gates[i]
        form = block.forms[i]
        tests: list[tuple[str, str]] = []
        if gate.terms.cache is not None and form is not None and form.is_async:
            raise CannotEmit("policy")
        if gate.terms.constraints is not None and gate.terms.cache is None:
            room = writer.take((self.entry, i, None), gate.terms.constraints, "has_room")
            writer.line(self.depth, f"if not {room}(): {writer.deoptimize()}", "", self.place(i))
        if gate.condition is not None:
            absent = self.absent(gate.condition)
            if absent is not None:
                tests.append((absent, "UpstreamSkipped_Condition"))
            tests.append((f"not {self.local[gate.condition]}", "ConditionFalse"))
        for number in gate.after:
            register = number if block.local is None else block.local.get(number, -1)
            if not self.may_skip(register):
                continue
            if block.ops[register] != GATED or register not in self.flags:
                raise CannotEmit("strict")
            tests.append((f"{self.flags[register]} is not None", "UpstreamSkipped_Sequence"))
        lacking = [self.local[at] for at in dict.fromkeys(block.references(i)) if self.may_lack(at)]
        if lacking:
            nothing = writer.mark("NOTHING")
            tests.append((" or ".join(f"{one} is {nothing}" for one in lacking), "UpstreamSkipped_Data"))
        if not tests:  # all that could keep it from being made has a value already
            self.call(i)
            self.given.add(i)
            return
        name = self.take(i)
        flag = self.flag(i, name)
        for at, (test, why) in enumerate(tests):
            writer.line(self.depth, f"{'elif' if at else 'if'} {test}:", "", self.place(i))
            with Branch(self):
                self.skip(i, name, why)
        writer.line(self.depth, "else:")
        with Branch(self):
            self.call(i, name=name)
            writer.line(self.depth, f"{flag} = None")
        self.hold(i, name)
        writer.deopt_log.append(("flag", i, flag))

    def skip(self, i: int, name: str, why: str) -> None:
        """Write what stands in for a skipped call."""
        writer, gate = self.writer, self.block.gates[i]
        flag = f'{self.flags[i]} = "{why}"'
        if writer.watch[2]:
            writer.line(self.depth, flag)
            writer.deopt_log.append(
                ("skip", i, self.flags[i])
            )  # it has been told: whoever goes on must not tell it again
            writer.skipped(self.depth, (self.entry, i), why)
        if gate.otherwise is not None:
            self.demand(gate.otherwise)
            value = self.local[gate.otherwise]
        else:
            value = self.local[gate.first] if gate.first is not None else writer.mark("NOTHING")
        writer.line(self.depth, f"{name} = {value}")
        if not writer.watch[2]:
            writer.line(self.depth, flag)

    # --- what is asked for late

    def demand(self, reference: int) -> None:
        """Write what must run for a reference, unless it has run."""
        for i in sorted(self.closure(reference)):
            if i in self.certain:
                raise CannotEmit("order")  # it runs anyway, but has not yet
            if i not in self.shared:
                self.instruction(i)
                continue
            name = self.shared[i]
            self.writer.line(self.depth, f"if {name} is {self.writer.mark('PENDING')}:")
            with Branch(self):
                self.instruction(i)
            self.local[i] = name  # the log has it from the start on

    def pruned(self) -> None:
        """Write that what nobody asked for is skipped."""
        for i, name in self.shared.items():
            if self.writer.watch[2] and self.block.kinds[i] <= CALLN:
                self.writer.line(self.depth, f"if {name} is {self.writer.mark('PENDING')}:")
                self.writer.skipped(self.depth + 1, (self.entry, i), "Pruned")


class Branch:
    """The lines of one branch: what it alone has computed is not known behind it."""

    def __init__(self, emitter: BlockEmitter) -> None:
        self.emitter = emitter

    def __enter__(self) -> None:
        emitter = self.emitter
        emitter.depth += 1
        emitter.writer.deopt_log.append(("open", 0, ""))
        self.before = dict(emitter.local), {base: list(names) for base, names in emitter._free.items()}
        self.left, emitter.left = emitter.left, []

    def __exit__(self, *error: object) -> None:
        emitter = self.emitter
        emitter.depth -= 1
        emitter.writer.deopt_log.append(("close", 0, ""))
        emitter.local, emitter._free = self.before
        emitter.left = self.left
