"""Loops: following the jumps and tail calls of a task, in constant memory.

One coroutine follows a whole loop, through all its states and whatever blueprints tail calls lead to. Each
entry has registers of its own, so it starts from the declaration; what came before is let go.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Sequence
from types import CoroutineType
from typing import Any

from cascade.compiler.code.source_writer import Deoptimize
from cascade.compiler.lowering.entry_plan import FIRST, Key, entry_plan, override
from cascade.compiler.transition_profile import Edge, TransitionProfile
from cascade.errors import DependencyMissingError, JumpError
from cascade.runtime.execution.scheduler import advance, complete, drive
from cascade.runtime.frames.frame import NOTHING, PENDING, Activation, Frame, Parked, Skip
from cascade.runtime.frames.gates import gate_reason, stand_in
from cascade.runtime.interpreter.interpreter import Deferred, run_ready
from cascade.runtime.interpreter.results import refuse_jump, refuse_lazy
from cascade.runtime.loops.learning import learn_call, learn_item, learn_jump, learn_tail_transition, tail_key
from cascade.runtime.loops.position import LoopPosition
from cascade.runtime.loops.shared_transition import known_transition
from cascade.runtime.loops.tail_call import merge_tail
from cascade.runtime.loops.transition import Transition
from cascade.runtime.shortcuts import off
from cascade.spec.blueprint import EntryPlan
from cascade.spec.control import Jump, TailCall, Value
from cascade.spec.gate import Gate
from cascade.spec.lazy import Lazy
from cascade.spec.operations import CALLN, MAP
from cascade.spec.placement import CallForm
from cascade.spec.readable import readable

__all__ = ["Follower"]

MOST_TRANSITIONS = 16


class Follower(LoopPosition):
    """One loop on its way: the state it is in, and how its last call was made."""

    __slots__ = ()
    transitions: dict[int, list[Transition]]
    elsewhere: dict[Activation, dict[int, list[Transition]]]

    def end(self, value: Any) -> Any:
        """Return what the loop gives, and note if that was skipped."""
        home, register = self.home, self.call.register
        if value is NOTHING and self.activation is not home.activation:
            reason = "skipped" if self.skip is None else self.skip.reason
            error = DependencyMissingError(
                f"the target of the blueprint that a TailCall led to was skipped ({reason}) and has nothing to give in "
                "its place; give it one with run_if(..., otherwise=...)"
            )
            raise self.run.failure_at(self.call, error)
        if self.item is None and self.skip is not None:
            skip = home.skips[register] = Skip(self.skip.reason, ran=True)
            skip.strict = self.skip.strict
        return value

    @readable("run", "self", "transition", place=lambda known: (known["run"], known["self"].call))
    async def follow(self) -> Any:
        """Go where the signal leads until a plain value comes; return that."""
        run, value, within = self.run, self.value, self.within
        self.value = None
        ticker = run.ticker
        try:
            within.check()  # the first call may not have minded a cancel
            while ticker.late and not self.form.is_async and not isinstance(value, CoroutineType):
                await run.turn()
            while True:
                try:
                    cls = value.__class__
                    if cls is Jump or cls is TailCall:
                        transition: Transition | None
                        for transition in self.transitions.get(self.number, ()):
                            if transition.takes(value):
                                break
                        else:
                            transition = known_transition(self, value) if cls is Jump else None
                            if transition is not None:
                                _keep(self.transitions, self.number, transition)
                        if transition is None:
                            number, activation, signal = self.number, self.activation, value
                            target, key, data = self.jump(value) if cls is Jump else (number, (), None)
                            if target is None:
                                return self.end(data)
                            value = await (
                                self.tail(signal) if cls is TailCall else self.enter(activation, target, key, data)
                            )
                            within.check()
                            self.learn(signal, activation, number, target, key)
                        else:
                            value = transition.enter(value)
                            if value is PENDING and transition.is_waiting:
                                try:
                                    outcome = await transition.begin_hot()
                                except BaseException as error:
                                    if isinstance(error, Deoptimize):
                                        within.check()
                                    value = transition.caught(error)
                                else:
                                    value = transition.left(transition.signal, outcome)
                                if transition.guards.is_retired:
                                    run.look()
                                    within.check()
                            if value is PENDING:
                                value = await self.finish(transition)
                                within.check()  # the state may not have minded a cancel
                    elif isinstance(value, (Jump, TailCall)):
                        value = await self.enter_slowly(value)
                        within.check()
                        if self.ended:
                            return self.end(value)
                    elif isinstance(value, CoroutineType):
                        value = await value
                        within.check()
                        if isinstance(value, TailCall) and not self.call.entered:
                            self.count_before()
                    elif isinstance(value, Lazy):
                        refuse_lazy(self.form, value)
                    else:
                        return self.end(value)
                except BaseException as error:
                    if isinstance(value, CoroutineType):
                        value.close()  # it was not begun, as the run is ending
                    run.check_failed(self.call, error)
                    raise
                if ticker.due and not isinstance(
                    value, CoroutineType
                ):  # which the end of the run would leave unawaited
                    ticker.caught(self.form)
                    await run.turn()
        finally:
            self.let_go()

    def make_transition(self, edge: Edge, profile: TransitionProfile, template: list[Any]) -> Transition | None:
        """Return a short way on, along an edge that was learned."""
        return Transition(self, edge, profile, template)

    async def finish(self, transition: Transition) -> Any:
        """Wait for what a transition could not do at once; return what the state returned."""
        run = self.run
        if transition.signal is not None:
            signal, transition.signal = transition.signal, None
            return await self.enter_slowly(signal)
        if self.rest is not None:
            rest, self.rest = self.rest, None
            return await self.complete_entry(*rest)
        form = transition.entry.form
        if form.is_async and run.direct and not run.observed:
            return await form.func(*self.args)
        return await run.operations.call(run, self.call, form, self.args, {}, None)

    async def enter_slowly(self, signal: Jump | TailCall) -> Any:
        """Go where a jump or tail call leads, the long way; return what is returned there."""
        if isinstance(signal, TailCall):
            return await self.tail(signal)
        target, key, data = self.jump(signal)
        self.ended = target is None
        return data if target is None else await self.enter(self.activation, target, key, data)

    def learn(self, signal: Jump | TailCall, activation: Activation, number: int, target: int, key: Key) -> None:
        """Keep a short way for more jumps or tail calls like one that was followed."""
        home = self.home.activation
        transitions = self.transitions if self.activation is activation else self.elsewhere[activation]
        at_item = self.item is not None and number == self.home_number and activation is home
        source: Any = number if activation is home else (activation.key, number)
        if at_item:
            source = number, len(self.item[0])
        transition = None
        if isinstance(signal, TailCall) and signal.target_blueprint_id is not None:
            if home not in (activation, self.activation) and "tail transitions" not in off:
                transition = learn_tail_transition(self, signal, activation, number)
        elif isinstance(signal, TailCall):
            transition = learn_call(self, signal, source)
        elif self.item is None or activation is not home:
            transition = learn_jump(self, signal, source, target, key)
        elif at_item and target == number and key:
            transition = learn_item(self, signal, key)
        if transition is not None:
            _keep(transitions, number, transition)

    # --- jumps

    def jump(self, jump: Jump) -> tuple[int | None, Key, Any]:
        """Return where a jump leads: a node, which arguments it overrides, and their values.

        At a way out: None, and the value of the loop in the place of the values.
        """
        routes = self.routes
        if routes is None:
            refuse_jump(self.form, jump)
        try:
            target = routes[jump.target_key]
        except (KeyError, TypeError):
            known = ", ".join(map(repr, routes))
            near = difflib.get_close_matches(str(jump.target_key), [key for key in routes if isinstance(key, str)], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise JumpError(
                f"task {self.form.task.name!r} (declared at {self.form.task.declared}) returned {jump!r}, "
                f"but its selector has no route {jump.target_key!r}; the routes are: {known}{hint} "
                "(a Jump names a key of the dict given to cs.select_jump)"
            ) from None
        data = jump.data
        if data is None:
            return target, (), () if target is not None else None
        cls = data.__class__
        if cls is Value:
            data = data.value
        elif isinstance(data, Lazy):
            raise JumpError(
                f"task {self.form.task.name!r} (declared at {self.form.task.declared}) returned a Jump with {data!r} "
                "as data; a running task cannot add to the graph: send a value"
            )
        elif isinstance(data, dict) and target is not None:
            return target, tuple(data), tuple(data.values())
        return (None, (), data) if target is None else (target, FIRST, (data,))

    async def enter(self, activation: Activation, target: int, key: Key, overrides: Any, called: bool = False) -> Any:
        """Enter a state (or an exit, a node that is not bound); return what it returns."""
        blueprint = activation.blueprint
        if target < 0:
            if key:
                raise JumpError(f"a Jump carries data to an input, which takes no arguments: {overrides!r}")
            return activation.constants[-1 - target]
        if self.item is not None and target == self.home_number and activation is self.home.activation:
            return await self.enter_item(key, overrides)
        if not key and target in blueprint.hoisted:
            return await self.once(activation.root, target)
        block = blueprint.state(target)
        plan = block.plans.get(key) or entry_plan(blueprint, target, key)
        root = block.root
        gate = block.gates.get(root)
        self.move(activation, target, None if block.kinds[root] == MAP else block.jumps.get(root), gate, called)
        frame = self.frame(plan, activation, target, overrides)
        work: list[Any] = [(frame, iter(plan.steps))]
        deferred: list[Deferred] = []
        outcome = None
        if plan.steps:
            self.run.ticker.begin()
            outcome = run_ready(self.run, work, deferred)
        return await self.complete_entry(plan, frame, work, deferred, outcome)

    async def complete_entry(
        self, plan: EntryPlan, frame: Frame, work: list[Any], deferred: list[Deferred], outcome: object
    ) -> Any:
        """Do what is left of an entry after a first run of what feeds it; return what its state returns."""
        block = frame.block
        root = block.root
        gate = block.gates.get(root)
        if outcome is not None or deferred or any(frame.regs[at] is PENDING for at in plan.wanted):
            await complete(self.run, frame, work, deferred, outcome, plan.wanted)
        kind = block.kinds[root]
        if kind > CALLN and kind != MAP:
            self.skip = frame.skips.get(root)
            self.pruned(frame, plan)
            return frame.regs[root]
        if block.lazies or (gate is not None and (gate.condition is not None or gate.after)):
            skipped, value = await self.skipped(frame, plan, root, gate)
            if skipped:
                self.pruned(frame, plan)
                return value
        regs = frame.regs
        args = [regs[reference] for reference in plan.placed]
        kwargs = {name: regs[reference] for name, reference in plan.named.items()} if plan.named else {}
        if kind == MAP:
            value = await self.run.operations.map(self.run, frame, root, args, kwargs, PENDING)
        else:
            form = block.forms[root]
            assert form is not None
            if gate is not None and gate.amounts:
                gate = self.run.settled(self.call, gate, regs)
            value = await self.call_state(form, args, kwargs, gate)
        self.pruned(frame, plan)
        return value

    async def once(self, root: Frame, number: int) -> Any:
        """Return what a node gives that runs once a run, however often it is entered."""

        def question(work: list[Any], waiter: Parked) -> Any:
            if root.regs[number] is PENDING:
                root.park(number, waiter)
                root.demand(number, work)
            return root.regs[number]

        value = await self.ask(question)
        self.skip = root.skips.get(number)
        return value

    async def enter_item(self, key: Key, overrides: Sequence[Any]) -> Any:
        """Enter the item of a map again, with the arguments declared for it but for those overridden."""
        graph = self.home.activation.blueprint.graph
        block = self.home.block
        gate = block.gates.get(self.call.register)
        form = block.forms[self.call.register]
        assert form is not None
        declared, named = self.item
        args, kwargs = list(declared), dict(named)
        receiver = 1 if gate is not None and gate.terms.receiver else 0
        for name, value in zip(key, overrides, strict=True):
            if key is FIRST:
                name = _first_name(form, receiver, self.described)
            override(self.described, form, args, kwargs, name, value, receiver)
        self.move(self.home.activation, self.home_number, graph.jumps.get(self.home_number), gate)
        if gate is not None and gate.amounts:
            gate = self.run.settled(self.call, gate, self.home.regs)
        return await self.call_state(form, args, kwargs, gate)

    async def call_state(self, form: CallForm, args: Any, kwargs: dict[str, Any], gate: Gate | None) -> Any:
        """Make a state's own call; return what it returns."""
        run = self.run
        self.form, self.args, self.kwargs, self.gate = form, args, kwargs, gate
        inline = form.inline
        if (
            inline is None
            or run.observed
            or not run.inline
            or form.task.needs
            or (gate is not None and gate.terms.is_policy)
        ):
            return await run.operations.call(run, self.call, form, args, kwargs, gate)
        run.ticker.ticks = 0
        return inline(*args, **kwargs)

    async def skipped(self, frame: Frame, plan: EntryPlan, root: int, gate: Gate | None) -> tuple[bool, Any]:
        """Say whether the state is skipped in this entry, and what stands in for it then."""
        reason = None
        if gate is not None:
            reason = await self.ask(lambda work, waiter: gate_reason(frame, root, gate, work, waiter))
        arguments = (*plan.placed, *plan.named.values())
        if reason is None and any(frame.regs[reference] is NOTHING for reference in arguments):
            reason = "UpstreamSkipped_Data"
        if reason is None:
            return False, None
        skip = self.skip = Skip(reason, ran=True)
        if self.run.observed and frame.block.kinds[root] <= CALLN:
            self.run.publish_skip(self.call, reason)
        if gate is None or (gate.otherwise is None and not plan.keeps_first):
            return True, NOTHING
        return True, await self.ask(lambda work, waiter: stand_in(frame, skip, gate, work, waiter))

    async def ask(self, question: Callable[[list[Any], asyncio.Future[None]], Any]) -> Any:
        """Ask again until the answer is known, running what it needs."""
        while True:
            work: list[Any] = []
            waiter = asyncio.get_running_loop().create_future()
            answer = question(work, waiter)
            if answer is not PENDING:
                return answer
            self.scope.begin()
            try:
                mine = await advance(self.run, work, self.scope)
                if mine is not None:
                    self.scope.start_watched(drive, self.run, *mine)
                await waiter
                await self.scope.join()
                self.scope.check()
            except BaseException as error:
                raise await self.scope.close(error) from None

    def pruned(self, frame: Frame, plan: EntryPlan) -> None:
        """Say of what an entry did not ask for that it was skipped."""
        if frame.demanded is not None and self.run.observed:
            self.run.publish_pruned(frame, [*plan.wanted])

    # --- tail calls

    async def tail(self, call: TailCall) -> Any:
        """Make the call that a TailCall asks for; return what it returns."""
        if call.target_blueprint_id is not None:
            activation = self.run.activation_of(call.target_blueprint_id, self.form)
            target, key = activation.blueprint.graph.root, tail_key(call)
            if key and target >= 0:
                try:
                    entry_plan(activation.blueprint, target, key)
                except JumpError as error:
                    raise TypeError(f"a TailCall to blueprint {call.target_blueprint_id!r}: {error}") from None
            return await self.enter(activation, target, key, (*call.args, *call.kwargs.values()), called=True)
        receiver = 1 if self.gate is not None and self.gate.terms.receiver else 0
        args, kwargs = merge_tail(self.form, self.args, self.kwargs, call, receiver)
        self.move(self.activation, self.number, self.routes, self.gate, called=True)
        return await self.call_state(self.form, args, kwargs, self.gate)


def _keep(transitions: dict[int, list[Transition]], number: int, transition: Transition) -> None:
    """Keep a short way on from a node, all of which are of one profile."""
    known = transitions.setdefault(number, [])
    if known and known[0].loop_profile is not transition.loop_profile:  # the state did what others like it did not
        known.clear()
    if len(known) < MOST_TRANSITIONS:
        known.append(transition)


def _first_name(form: CallForm, receiver: int, described: Callable[[], str]) -> Any:
    shape = form.task.shape
    names = () if shape is None else (*shape.names[receiver:], *shape.keywords)
    if not names:
        raise JumpError(f"a Jump carries data to {described()}, which takes no argument for it")
    return names[0]
