"""Transitions: the short way for a jump or tail call that is like one before, which nearly every one of a long loop is.

Where a jump may lead is declared. Whether its data is one value or a dict, and of which keys, shows only when it
comes. So the follower goes the long way once, and what it saw is noted as an edge and kept with the state as a
`Transition`, the entry of an inline cache: a signal of the same class and key takes it, with the plan of the entry
and the frame at hand. One that has been used 16 times runs as an emitted loop, a Python function with all the states
that were seen to follow.

An emitted loop can be left behind any call and go on by interpreting, for three reasons. `is_hot` asks, before each
turn, for all that must hold while it runs: those listen for whom it was written, no limit is for its calls, its
functions are short still, and entries are left to go. The function itself compares what each call returns with what
was seen, nothing more. And `left`, `caught` and `resume` put the follower where the function was left, by the log
that was written with its lines.

The alternative is to emit at once all that the declaration allows: a variant for each set of names that a jump might
override, most of them never used, and compilation, some 50 us a call, for loops that turn twice. A faster interpreter
is none: it adds about 100 ns to a call of 45, however it is written, and emitted code adds 8. The price of learning
is that each edge is slow at first, and that the function is written anew when one comes to be used that was not
(docs/decisions/hot-loops.md; what an entry is, docs/decisions/one-coroutine-follows-a-loop.md).
"""

from __future__ import annotations

from copy import copy
from types import CoroutineType
from typing import Any

from cascade.compiler.analysis.shapes import keep, kept, loop_shape
from cascade.compiler.code.emitted import LinkedLoop, LoopCode
from cascade.compiler.code.source_writer import CannotEmit, Deoptimize, DeoptPoint, UnfitMap
from cascade.compiler.emit.inner_loop import inner_loops
from cascade.compiler.emit.loop import emit_loop
from cascade.compiler.lowering.entry_plan import FIRST, entry_plan
from cascade.compiler.transition_profile import ENDLESS, Edge, EntryPoint, TransitionProfile
from cascade.runtime.compiled.deoptimization import call_at_point, publish_end, rebuild_frame, tries_again
from cascade.runtime.event_loop.ticker import MOST_NUMBERS
from cascade.runtime.frames.frame import PENDING, Frame, NodeInstance, order_frame
from cascade.runtime.interpreter.in_place import taken
from cascade.runtime.interpreter.interpreter import Deferred, run_ready
from cascade.runtime.loops.position import LoopPosition
from cascade.runtime.loops.tail_call import merge_tail
from cascade.runtime.run.state import RunState
from cascade.runtime.shortcuts import off
from cascade.spec.control import Jump, TailCall

__all__ = ["Transition"]

MOST_LOOPS = 64
SOON = 4
"""After so many uses of an edge that only this run knows, a loop is looked for that is kept: that takes a while."""


class Transition:
    """The short way along one edge, in one loop that is on its way."""

    __slots__ = (
        *("edge", "entry", "follower", "frame", "guards", "hot", "is_short", "is_waiting", "loop_profile", "nodes"),
        *("known_limit", "signal", "size", "taken", "template", "version", "watch"),
    )

    def __init__(
        self,
        follower: LoopPosition,
        edge: Edge,
        loop_profile: TransitionProfile,
        template: list[Any],
    ) -> None:
        self.follower: Any = follower
        self.edge = edge
        self.entry: EntryPoint = edge.entry
        self.loop_profile = loop_profile
        self.frame: Frame | None = None
        self.template = template
        """The registers with which each entry begins."""
        self.signal: Any = None
        """What the follower is to go on from, in the place of what the state would have returned."""
        self.is_short = not edge.is_repeat and edge.entry.plan.is_bare and "short entries" not in off
        """What runs before the state's own call, and that call, is all that an entry takes."""
        self.is_waiting = False
        """Whether the loop goes on in an emitted coroutine."""
        self.size = 16
        linked: tuple[Any, int, Any] = edge.linked or (None, -1, None)
        self.watch, self.version, self.hot = linked
        self.known_limit: int | None = None
        """The limit of the loop when the emitted one was found, in which no state has a lesser one."""
        self.nodes: list[NodeInstance] | None = None
        self.guards: Any = None
        self.taken: list[Any] = []
        """What the calls of the emitted loop take."""

    def takes(self, signal: Jump | TailCall) -> bool:
        """Say whether a jump or tail call goes along this edge."""
        if not self.edge.takes(signal):
            return False
        if not self.edge.is_repeat:
            return True
        follower = self.follower
        return follower.form is self.entry.form and len(follower.args) == self.entry.plan.size and not follower.kwargs

    def enter(self, signal: Jump | TailCall) -> Any:
        """Enter the state; return what it returns, or PENDING if the follower must wait for something."""
        run = self.follower.run
        if run.compiles_loops and self.is_hot():
            if not self.hot.loop.is_async:
                return self.run_hot(signal)
            self.is_waiting = True
        elif self.is_short and self.follower.limit is None:
            return self.interpret(signal)
        self.signal = signal
        return PENDING

    def registers(self, signal: Any) -> list[Any]:
        """Return fresh registers, with what a jump or tail call gives in its place."""
        if self.edge.is_repeat:
            receiver = 1 if self.follower.gate is not None and self.follower.gate.terms.receiver else 0
            args, _ = merge_tail(self.entry.form, self.follower.args, {}, signal, receiver)
            return list(args)
        regs = self.template.copy()
        if not self.edge.is_jump:
            for (register, _), value in zip(self.edge.updates, (*signal.args, *signal.kwargs.values()), strict=True):
                regs[register] = value
        elif self.edge.names is not None:
            for (register, _), value in zip(self.edge.updates, signal.data.values(), strict=True):
                regs[register] = value
        elif self.edge.updates:
            regs[self.edge.updates[0][0]] = signal.data
        return regs

    def interpret(self, signal: Jump | TailCall) -> Any:
        """Enter a state that nothing can skip, instruction by instruction."""
        follower, plan, frame = self.follower, self.entry.plan, self.frame
        run = follower.run
        follower.count += 1
        follower.stand_at(self.entry)
        iteration = follower.call.enter(follower.instance)
        regs = self.registers(signal)
        if plan.steps:
            if frame is None:
                frame = self.frame = follower.frame_at(self.entry)
            frame.iteration, frame.regs = iteration, regs
            deferred: list[Deferred] = []
            work: list[Any] = [(frame, iter(plan.steps))]
            run.ticker.ticks = 0
            outcome = run_ready(run, work, deferred)
            if outcome is not None or deferred or any(regs[at] is PENDING for at in plan.wanted):
                follower.rest = (plan, frame, work, deferred, outcome)
                return PENDING
        args = follower.args = [regs[reference] for reference in plan.placed]
        inline = self.entry.form.inline
        if inline is None or run.observed or not run.inline:
            return PENDING
        return inline(*args)

    # --- the emitted loop

    def is_hot(self) -> bool:
        """Say whether the emitted loop can take this entry; emit it when the transition has been used enough."""
        run = self.follower.run
        if not run.direct or not run.inline or (run.heard and run.bus.previews is not None):
            return False
        is_known = self.watch == run.watch and self.version == self.loop_profile.version
        if not (is_known and self.known_limit == self.follower.limit) and not self.emitted(run):
            return False
        if self.hot is False:
            return False
        if run.governed and run.governs(*self.hot.loop.forms):
            return False
        return self.hot.loop.may_run() and self.is_ready(run)

    def emitted(self, run: RunState) -> bool:
        """Find or make the emitted loop; say whether it is time for it."""
        edge, loop_profile, entry, patience = self.edge, self.loop_profile, self.entry, run.patience_to_compile
        edge.uses += 1
        form = entry.form
        if form.inline is None and not form.is_async:
            return False
        is_due = edge.uses > patience
        if not is_due and (form.kept is None or edge.uses != (1 if entry.blueprint_id is None else SOON)):
            return False
        if edge.uses == patience + 1:
            loop_profile.version += 1
        limit = self.follower.limit
        edges = loop_profile.reached(entry, patience // 2 if is_due else 0, ENDLESS if limit is None else limit)
        entries = list(dict.fromkeys([entry, *(edge.entry for edge in edges)]))
        blueprint = self.follower.activation.blueprint
        inner = {} if "inner loops" in off else inner_loops(blueprint, entries, run.watch)
        within = frozenset([(entries[k], i, one.edge) for (k, i), one in inner.items()])
        mark = ((frozenset(entries), frozenset(edges), within), run.watch)
        hot: Any = loop_profile.made.get(mark)
        if hot is None or (hot and not hot.loop.is_sure and all(form.seen is not None for form in hot.loop.forms)):
            linked = entries
            if entry.is_shared:
                entries, edges = _here(self.follower, entry, edges)
            blueprints = [self.follower.activation_at(entry).blueprint for entry in entries]
            shape = loop_shape(blueprints, entries, edges, run.watch, inner)
            loop: LoopCode | None = kept(form, shape)
            if loop is None and not is_due:
                return False
            try:
                if loop is None or not loop.is_sure:
                    loop = emit_loop(blueprints, entries, edges, run.watch, inner)
                    keep(form, shape, loop)
                hot = LinkedLoop(loop, linked)
            except CannotEmit as error:
                loop_profile.reasons.add(str(error))
                hot = False
            if len(loop_profile.made) >= MOST_LOOPS:
                loop_profile.made.clear()
            loop_profile.made[mark] = hot
        self.watch, self.hot, self.nodes = None, hot, None
        if hot is False or hot.loop.is_sure:
            self.watch, self.version, self.known_limit = run.watch, loop_profile.version, limit
            if hot and hot.is_leaf:
                edge.linked = self.watch, self.version, hot
        return True

    def is_ready(self, run: RunState) -> bool:
        """Say whether all that the loop reads from around it is there, and nothing counts differently."""
        hot, follower = self.hot, self.follower
        if hot.limit < (ENDLESS if follower.limit is None else follower.limit):
            return False  # it begins with a state that has a lesser limit, which the follower is to hear of
        is_limited = follower.limit is not None or hot.limit < ENDLESS
        if is_limited and self.left_to_go() <= 0:
            return False
        if hot.loop.inner and (follower.call.suffix or is_limited):
            return False  # they share the numbers of its turn, and count their entries as nodes of a loop
        for entry, at in hot.imports:
            root = follower.activation_at(entry).root
            if root.regs[at] is PENDING or at in root.skips:
                return False
        for entry, number in hot.after:
            activation = follower.activation_at(entry)
            around = follower.around(activation)
            place, register, _ = order_frame(Frame(activation, entry.block, [], follower.scope, around), number)
            if place.regs[register] is PENDING or register in place.skips:
                return False
        if hot.loop.taken and not self.takes_all(run):
            return False
        return not (run.observed and any(instance.entries or instance.items for instance in self.instances()))

    def takes_all(self, run: RunState) -> bool:
        """Say whether all that the calls of the loop take is at hand."""
        self.taken = []
        for k, i, at in self.hot.loop.taken:
            entry = self.hot.entries[k]
            found = taken(run, self.follower.activation_at(entry), entry.block, [(i, at)])
            if found is None:
                return False
            self.taken += found
        return True

    def left_to_go(self) -> int:
        """Return how many entries the loop may still have, whichever of its states come next."""
        limit: int | None = self.follower.limit
        least: int = self.hot.limit if limit is None else min(limit, self.hot.limit)
        return least - int(self.follower.count)

    def instances(self) -> list[NodeInstance]:
        """Return the instances of the nodes before the states; where one has looped itself, its entries are counted."""
        if self.nodes is None:
            entries = self.hot.entries
            self.nodes = [self.instance_at(k, i) for k, i in self.hot.loop.sites if i != entries[k].register]
        return self.nodes

    def instance_at(self, k: int, i: int) -> NodeInstance:
        """Return the instance of the node that register `i` of the loop's entry `k` is."""
        follower: LoopPosition = self.follower
        entry: EntryPoint = self.hot.entries[k]
        if i == entry.register:
            return follower.instance_at(entry)
        return follower.run.names.instance(follower.activation_at(entry), entry.block.source(i), follower.instance)

    def values(self, signal: Any) -> list[Any]:
        """Return what the emitted loop is called with behind its turn."""
        hot, follower = self.hot, self.follower
        plan = self.entry.plan
        given: list[Any] = self.registers(signal)[plan.first_override : plan.size]
        values = given
        if len(hot.entries) > 1:
            k = hot.entries.index(self.entry)
            values = [k, *[None] * hot.loop.width]
            for entry, offset in zip(hot.entries, hot.loop.offsets, strict=True):
                if entry.kind == "item":
                    values[1 + offset : 1 + offset + entry.plan.size] = follower.item[0]
            at = 1 + hot.loop.offsets[k]
            values[at : at + len(given)] = given
        for k, at in hot.loop.constants:
            entry = hot.entries[k]
            is_own = entry is self.entry
            regs = self.template if is_own else follower.activation_at(entry).template(entry.plan, entry.block)
            values.append(regs[at])
        for entry, at in hot.imports:
            values.append(follower.activation_at(entry).root.regs[at])
        for k, i in hot.loop.inner:
            values.append(self.instance_at(k, i))
        if any(follower.run.watch):
            sites = [self.instance_at(k, i).site_of(follower.call.suffix) for k, i in hot.loop.sites]
            values += [*follower.run.tellers(), follower.call.had(follower.instance), sites]
        if hot.loop.taken:
            values += self.taken
        return values

    def run_hot(self, signal: Jump | TailCall) -> Any:
        """Run the emitted loop for one turn at the most; return what the state returned last, or PENDING."""
        follower, hot = self.follower, self.hot
        ticker = follower.run.ticker
        self.size = min(self.size * 4, MOST_NUMBERS)
        values = self.values(signal)
        size = min(self.size, self.left_to_go())
        try:
            outcome = hot.loop.function(ticker.numbers(size), *values)
        except BaseException as error:
            return self.caught(error)
        finally:
            ticker.turn = None
        return self.left(signal, outcome)

    def begin_hot(self) -> CoroutineType[Any, Any, Any]:
        """Return the emitted loop as a coroutine; `left` or `caught` takes over from it."""
        run = self.follower.run
        run.ticker.begin()
        self.is_waiting = False
        values = self.values(self.signal)
        self.guards = run.guarded(self.hot.loop)
        work: CoroutineType[Any, Any, Any] = self.guards.function(range(self.left_to_go()), *values)
        return work

    def left(self, signal: Jump | TailCall | None, outcome: tuple[Any, Any, Any, Any]) -> Any:
        """Take over from the emitted loop where it was left, behind a state's own call."""
        self.signal = None
        i, k, result, args = outcome
        if i is None:  # the turn was over before it began
            return signal
        self.counted(k, i)
        if args is not None:
            plan, count = self.hot.entries[k].plan, len(self.hot.entries[k].plan.placed)
            self.follower.args, self.follower.kwargs = (
                list(args[:count]),
                dict(zip(plan.named, args[count:], strict=False)),
            )
        return result

    def counted(self, k: int, i: int) -> None:
        """Count the entries that the emitted loop has had, of which the last was its `i`-th, from 0, and state `k`."""
        follower, hot = self.follower, self.hot
        follower.stand_at(hot.entries[k])
        follower.count += i + 1
        follower.call.enter_more(follower.instance, i + 1)
        follower.run.ticker.caught_in(hot.loop.is_async, hot.loop.forms)

    def caught(self, error: BaseException) -> Any:
        """Take over from the emitted loop where something was raised: an error, or `Deoptimize`."""
        self.signal = None
        follower, hot = self.follower, self.hot
        run = follower.run
        place, values = hot.loop.where(error)
        if place is None or (place.passed is not None and not isinstance(error, Exception)):
            try:
                raise error
            finally:
                del error, values  # the traceback leads here
        k, i = place.entry, values.get("i") or 0
        if place.passed is not None:  # it has no key, so it is no jump
            return self.left(None, (i, k, values["result"], tuple([values[name] for name in place.passed])))
        entry: EntryPoint = hot.entries[k]
        self.counted(k, i)
        own = place.around is None and (place.register == entry.register or place.register < 0)
        if isinstance(error, UnfitMap) and entry.missed(place.register, i):
            self.loop_profile.made.clear()
            self.loop_profile.version += 1
        if isinstance(error, Deoptimize):
            return self.resume(entry, follower.frame_at(entry), place, values)
        if not own and tries_again(error, frame := follower.frame_at(entry), place):
            return self.resume(entry, frame, place, values, error)
        call = follower.call if own else call_at_point(run, follower.frame_at(entry), hot.loop, place, values)
        cancelled = run.is_asked(error, follower.within)
        publish_end(run, call, place, values, error, "Cancelled" if cancelled else "Failed")
        try:
            if own or cancelled:
                raise error
            raise run.failure_at(call, error) from None
        finally:
            del error, values  # the traceback leads here

    def resume(
        self,
        entry: EntryPoint,
        frame: Frame,
        place: DeoptPoint,
        values: dict[str, Any],
        failed: Exception | None = None,
    ) -> Any:
        """Go on by interpreting, in the middle of an entry, where a call may have `failed` that may be tried again."""
        follower = self.follower
        run = follower.run
        steps, deferred = rebuild_frame(
            run, frame, self.hot.loop, place, values, [step[0] for step in entry.plan.steps], failed
        )
        work: list[Any] = [(frame, iter(steps))]
        follower.rest = (entry.plan, frame, work, deferred, run_ready(run, work, deferred))
        return PENDING


def _here(follower: LoopPosition, entry: EntryPoint, edges: list[Edge]) -> tuple[list[EntryPoint], list[Edge]]:
    """Return copies of the entry of a shape and of its edges that are of the state where a follower is.

    What is emitted of it takes names from the follower's blueprint, the one that is certainly still there.
    """
    entry, edges = copy(entry), [copy(edge) for edge in edges]
    blueprint = follower.activation.blueprint
    entry.number = follower.number
    if entry.kind == "item":
        entry.block, entry.register = follower.home.block, follower.call.register
    else:
        entry.block, entry.plan = blueprint.state(entry.number), entry_plan(blueprint, entry.number, FIRST)
    for edge in edges:
        edge.entry = entry
    return [entry], edges
