"""Emitting a loop: all its states become one Python function.

What becomes of a loop `step(n, chain())` that jumps back to itself:

    def step_loop(turn, n):
        i = result = None
        for i in turn:
            chained = chain()                                        # chain flow.py:12
            if chained.__class__ is not str: odd(chained)
            result = step(n, chained)                                # step flow.py:20
            if result._cascade_key is not to_again or ...: return i, 0, result, (n, chained)
            n = result.data
        return i, 0, result, None

`turn` is a list of numbers: the iteration counter and the call for a turn in one. The ticker's thread clears
it when the event loop should have a turn, and the loop ends with the iteration it is in. A loop of several states
has a variable that says which is next.
"""

from __future__ import annotations

from cascade.compiler.analysis.order import in_order
from cascade.compiler.code.emitted import LoopCode, finished
from cascade.compiler.code.source import comment
from cascade.compiler.code.source_writer import CannotEmit, DeoptPoint, SourceWriter, Watch
from cascade.compiler.emit.block import BlockEmitter
from cascade.compiler.emit.dispatch import LONGER
from cascade.compiler.emit.inner_loop import InnerLoop, edge_tests
from cascade.compiler.transition_profile import EXPECTED, Edge, EntryPoint, same
from cascade.spec.blueprint import Blueprint
from cascade.spec.control import Jump, TailCall
from cascade.spec.gate import Gate
from cascade.spec.operations import IMPORT
from cascade.spec.placement import CallForm

__all__ = ["emit_loop"]

MOST_STEPS = 5_000
FEW_STATES = 6
WIDEST = 126
PAUSE = "if not turn: deoptimize()"


def emit_loop(
    blueprints: list[Blueprint],
    entries: list[EntryPoint],
    edges: list[Edge],
    watch: Watch,
    inner: dict[tuple[int, int], InnerLoop] | None = None,
) -> LoopCode:
    """Return a loop over these states.

    Args:
        blueprints: of each state, what it is in.
        edges: the ways between them.
        watch: what to publish of each call.
        inner: the loops that may stand inside of it.

    Raises:
        CannotEmit: it cannot be one function.
    """
    return _LoopEmitter(blueprints, entries, edges, watch, inner or {}).loop()


def _tuple(names: list[str]) -> str:
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


class _LoopEmitter:
    def __init__(
        self,
        blueprints: list[Blueprint],
        entries: list[EntryPoint],
        edges: list[Edge],
        watch: Watch,
        inner: dict[tuple[int, int], InnerLoop],
    ) -> None:
        self.blueprints = blueprints
        self.inner = inner
        self.instances: list[str] = []
        self.writer = SourceWriter(watch, loops=True)
        self.writer.now = "iteration"
        self.entries = entries
        self.numbers = {entry: k for k, entry in enumerate(entries)}
        self.edges = edges
        self.parameters: list[str] = []
        self.offsets: list[int] = []
        self.slots: dict[tuple[str | None, int], str] = {}
        self.constants: list[tuple[int, int]] = []
        self.imported: dict[tuple[str | None, int], str] = {}
        self.imports: list[tuple[int, int]] = []
        self.orders = [in_order(entry.block, entry.steps, entry.certain) for entry in self.entries]
        forms = [form for entry in self.entries for form in self.forms_of(entry)]
        self.is_async = any(form.is_async for form in forms)
        if sum(len(order) for order in self.orders) > MOST_STEPS:
            raise CannotEmit("size")

    def forms_of(self, entry: EntryPoint) -> list[CallForm]:
        late = entry.block.forms if entry.block.lazies else []
        forms = [entry.form, *(step[2] for step in entry.plan.steps if step[1] != IMPORT), *late]
        return [form for form in forms if form is not None]

    def loop(self) -> LoopCode:
        writer, entries = self.writer, self.entries
        for entry in entries:
            for form in self.forms_of(entry):
                writer.function(form)
        title = writer.namer.name(f"{entries[0].form.task.name}_loop")
        bodies = [self.emitter(k, entry) for k, entry in enumerate(entries)]
        several = len(entries) > 1
        parameters = ["turn", *(["state"] if several else [])]
        parameters += [*self.parameters, *self.slots.values(), *self.imported.values(), *self.instances]
        parameters += writer.listeners
        writer.head(title, parameters, self.is_async)
        writer.unpack()
        writer.line(1, "i = here = result = None" if several else "i = result = None")
        writer.line(1, "for i in turn:")
        if any(writer.watch):
            writer.line(2, "iteration = first + i")
        if several:
            self.choose(bodies, 0, len(bodies), 2)
        else:
            self.entry(bodies[0], 0, 2)
        for k, entry in enumerate(entries):
            if entry.kind == "call":  # its arguments are what the next call has
                names = [self.parameters[self.offsets[k] + at] for at in entry.parameters]
                leave = f"return i, {'here' if several else '0'}, result, {_tuple(names)}"
                writer.line(1, f"if state == {k}: {leave}" if several else leave)
        if several or entries[0].kind != "call":
            writer.line(1, f"return i, {'here' if several else '0'}, result, None")
        signals = {"Jump": Jump, "TailCall": TailCall}
        writer.names |= {**signals, "len": len, "same": same}
        if self.is_async:
            writer.guards |= signals
        made = finished(LoopCode, writer, title, self.is_async)
        made.edges = [*self.edges, *(one.edge for one in self.inner.values())]
        made.offsets, made.width = self.offsets, len(self.parameters)
        made.constants, made.imports, made.after = self.constants, self.imports, self.after()
        return made

    def after(self) -> list[tuple[int, int, int]]:
        """Return what instructions come after that no entry runs itself."""
        found = []
        for k, entry in enumerate(self.entries):
            block, certain = entry.block, entry.certain
            for i, gate in block.gates.items() if entry.kind == "state" else ():
                for which, number in enumerate(gate.after):
                    if block.local is None or block.local.get(number) not in certain:
                        found.append((k, i, which))
        return found

    def emitter(self, k: int, entry: EntryPoint) -> BlockEmitter:
        """Name what an entry is given: its own arguments, constants, and what runs once a run."""
        emitter = BlockEmitter(self.writer, self.blueprints[k], entry.block, entry.certain, LONGER, k)
        emitter.pause = PAUSE
        emitter.turn_over, emitter.loose = "" if self.is_async else "not turn", entry.loose
        for i in self.orders[k]:
            if (k, i) in self.inner and not self.is_async:  # whose numbers do not end at a tick
                emitter.inner[i] = self.inner[k, i]
                emitter.instances[i] = self.writer.namer.name(f"{emitter.graph.name(entry.block.source(i))}_loop")
                self.instances.append(emitter.instances[i])
        plan, form = entry.plan, entry.form
        names = form.task.shape.names if form.task.shape is not None else ()
        passed = [(at, names[place]) for place, at in enumerate(plan.placed) if place < len(names)]
        passed += [(at, name) for name, at in plan.named.items()]
        emitter.wish((), [one for one in passed if one[0] >= plan.first_override])
        emitter.wish(self.orders[k], passed)
        self.offsets.append(len(self.parameters))
        for at in entry.parameters:
            emitter.local[at] = self.writer.namer.name(emitter.base(at) if at in emitter.wishes else "data")
            self.parameters.append(emitter.local[at])
        slots = entry.block.slots
        for at in sorted({*plan.placed, *plan.named.values(), *self.all_reads(emitter, self.orders[k])}, reverse=True):
            if at < 0:
                slot = entry.blueprint_id, -1 - at if slots is None else slots[-1 - at]
                if slot not in self.slots:
                    self.constants.append((k, at))
                    self.slots[slot] = self.writer.namer.name(emitter.base(at) if at in emitter.wishes else "constant")
                emitter.local[at] = self.slots[slot]
            elif entry.kind == "state" and at < len(entry.block) and entry.block.ops[at] == IMPORT:
                number = entry.blueprint_id, entry.block.places[at]
                if number not in self.imported:
                    self.imports.append((k, at))
                    self.imported[number] = self.writer.namer.name(emitter.base(at))
                emitter.local[at] = self.imported[number]
        return emitter

    def all_reads(self, emitter: BlockEmitter, order: list[int]) -> set[int]:
        found = {at for i in order for at in emitter.reads(i)}
        gate = self.gate(self.entries[emitter.entry])
        if gate is not None and gate.condition is not None:
            found.add(gate.condition)
        return found

    @staticmethod
    def gate(entry: EntryPoint) -> Gate | None:
        """Return what holds for the state itself; what is called again has passed it."""
        return entry.block.gates.get(entry.register) if entry.kind == "state" else None

    def choose(self, bodies: list[BlockEmitter], start: int, stop: int, depth: int) -> None:
        """Write the states from `start` to `stop`, the way to each being short."""
        writer = self.writer
        if stop - start > FEW_STATES:
            middle = (start + stop) // 2
            writer.line(depth, f"if state < {middle}:")
            self.choose(bodies, start, middle, depth + 1)
            writer.line(depth, "else:")
            self.choose(bodies, middle, stop, depth + 1)
            return
        for k in range(start, stop):
            emitter = bodies[k]
            name = emitter.graph.name(self.entries[k].number)
            test = f"{'if' if k == start else 'elif'} state == {k}:" if k < stop - 1 else "else:"
            writer.line(depth, test, comment(name))
            writer.line(depth + 1, f"here = {k}")
            writer.deopt_log.append(("open", 0, ""))
            self.entry(emitter, k, depth + 1)
            writer.deopt_log.append(("close", 0, ""))

    def entry(self, emitter: BlockEmitter, k: int, depth: int) -> None:
        """Write one state: what feeds it, its own call, and the ways on from it."""
        writer, entry = self.writer, self.entries[k]
        plan, form, root = entry.plan, entry.form, entry.register
        emitter.depth = depth
        for at in entry.parameters:
            writer.deopt_log.append(("set", at, emitter.local[at]))
        gate = self.gate(entry)
        condition = None if gate is None else gate.condition
        if writer.watch[2] and gate is not None and gate.otherwise is not None and gate.otherwise not in entry.certain:
            raise CannotEmit("late")  # what would stand in for the state is pruned in each entry
        arguments = [*plan.placed, *plan.named.values()]
        stand_in = None if gate is None or gate.otherwise not in entry.certain else gate.otherwise
        emitter.write(self.orders[k], [*arguments, *(at for at in (condition, stand_in) if at is not None)])
        place = emitter.place(root)
        if condition is not None:
            absent = emitter.absent(condition)
            test = f"{'' if absent is None else f'{absent} or '}not {emitter.local[condition]}"
            writer.line(depth, f"if {test}: {writer.deoptimize()}", "", place)
        lacking = [emitter.local[at] for at in dict.fromkeys(arguments) if emitter.may_lack(at)]
        if lacking:
            nothing = writer.mark("NOTHING")
            test = " or ".join(f"{one} is {nothing}" for one in lacking)
            writer.line(depth, f"if {test}: {writer.deoptimize()}", "", place)
        for number in () if gate is None else gate.after:
            register = (entry.block.local or {}).get(number, -1)
            if register in entry.certain and emitter.may_skip(register):
                writer.line(depth, f"if {emitter.flags[register]} is not None: {writer.deoptimize()}", "", place)
        passed = [emitter.local[at] for at in plan.placed]
        named = [(name, emitter.local[at]) for name, at in plan.named.items()]
        call = writer.called(form, passed, named)
        writer.call(depth, place, (k, root), f"result = {call}", emitter.said(root))
        emitter.pruned()
        self.ways_on(k, depth, passed, [local for _, local in named])

    def ways_on(self, k: int, depth: int, passed: list[str], named: list[str]) -> None:
        """Write where the state's result leads."""
        writer, entry = self.writer, self.entries[k]
        edges = [
            edge
            for edge in self.edges
            if edge.source == entry.source
            and (not edge.is_repeat or (edge.entry.plan.size == len(passed) and not named))
        ]
        leave = f"return i, {k}, result, {_tuple([*passed, *named])}"
        if not edges:
            writer.line(depth, leave)
            return
        place = None
        if all(edge.is_jump and edge.key is not None for edge in edges):
            place = writer.place(k, entry.register, True)
            place.passed = [*passed, *named]
        if len(edges) == 1:
            self.ask(depth, "if", "or", [no for _, no in self.tests(edges[0], place is not None)], place)
            writer.line(depth + 1, leave)
            self.update(edges[0], k, depth, passed)
            return
        for at, edge in enumerate(edges):
            self.ask(
                depth, "elif" if at else "if", "and", [yes for yes, _ in self.tests(edge, place is not None)], place
            )
            if not self.update(edge, k, depth + 1, passed):
                writer.line(depth + 1, "pass")
        writer.line(depth, "else:")
        writer.line(depth + 1, leave)

    def ask(self, depth: int, word: str, joined: str, tests: list[str], place: DeoptPoint | None) -> None:
        """Write the head of a branch, a line for each test where one line would be long."""
        line = f"{word} {f' {joined} '.join(tests)}:"
        if len(line) + 4 * depth <= WIDEST:
            self.writer.line(depth, line, "", place)
            return
        self.writer.line(depth, f"{word} (")
        for at, test in enumerate(tests):
            self.writer.line(depth + 1, f"{joined} {test}" if at else test, "", place)
        self.writer.line(depth, "):")

    def tests(self, edge: Edge, by_key: bool) -> list[tuple[str, str]]:
        """Return the tests of whether a result goes along an edge, each with its opposite."""
        guard = self.writer.guard if self.is_async and edge.key is not None else self.writer.value
        return edge_tests(self.writer, edge, "result", guard, by_key)

    def update(self, edge: Edge, k: int, depth: int, passed: list[str]) -> bool:
        """Write what a jump or a tail call gives to the entry that it leads to; say whether there was anything."""
        writer, to = self.writer, self.numbers[edge.entry]
        before = len(writer.text)
        offset = self.offsets[to] - edge.entry.plan.first_override
        given = {}
        for register, how in edge.updates:
            if how is None:
                given[register] = "result.data" if edge.cls is EXPECTED else "data"
            elif isinstance(how, int):
                given[register] = f"args[{how}]"
            else:
                given[register] = f"{'data' if edge.is_jump else 'given'}[{writer.value(how, f'name_{how}')}]"
        if edge.is_repeat and to != k:
            for register in edge.entry.parameters:
                given.setdefault(register, passed[register])
        changed = {self.parameters[offset + register]: value for register, value in given.items()}
        if any(value in changed for value in changed.values()):  # they read each other: all at once
            writer.line(depth, f"{', '.join(changed)} = {', '.join(changed.values())}")
        else:
            for name, value in changed.items():
                writer.line(depth, f"{name} = {value}")
        if to != k:
            writer.line(depth, f"state = {to}")
        return len(writer.text) > before
