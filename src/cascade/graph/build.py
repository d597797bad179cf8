"""Lazy results -> Graph: one walk, without recursion, linear in nodes and edges."""

from __future__ import annotations

from functools import cached_property
from itertools import repeat
from typing import Any, NoReturn

from cascade.errors import CycleError
from cascade.graph.freeze import check_inside, freeze, is_container
from cascade.graph.gates import Gates, constraints_of, injects
from cascade.graph.identity import PureCalls
from cascade.graph.loops import check_loops, draw_cycle
from cascade.spec.compose import SubflowResult
from cascade.spec.control import Router, Value
from cascade.spec.gate import Gate, Terms
from cascade.spec.graph import Graph, Optional, Pack, Routes
from cascade.spec.inputs import Input
from cascade.spec.layout import layout_of
from cascade.spec.lazy import BUILT, Lazy, LazyResult, MappedResult
from cascade.spec.operations import CALL0, CALL1, CALLN, MAP, OPTIONAL, PACK, ROUTE, SUBFLOW
from cascade.spec.placement import CallForm
from cascade.spec.policies import Config, OwnConfig
from cascade.spec.signal import UNSET

__all__ = ["build", "target_of"]

ATOMS = frozenset({int, str, float, bool, type(None), bytes, complex})
LEAVES = ATOMS | {LazyResult}
OPEN = object()
"""In the index: a node whose inputs are being walked."""
MANY = 16
"""A container of so many results is looked at for calls that can be numbered together."""
SIMPLE = frozenset({list, tuple, dict})
"""Containers that are packed in the walk, where they hold lazy results and atoms alone; all others are frozen."""


def target_of(target: Any) -> Any:
    """Return what to build for a run's target: lazy, a `Pack`, or the target itself if nothing in it is lazy."""
    if isinstance(target, LazyResult):
        return _asked_for(target)
    return freeze(target, {}, "the target", _asked_for) if is_container(target) else target


def _asked_for(value: Lazy) -> Lazy:
    if isinstance(value, LazyResult) and value.config is not None and value.config.none_if_skipped:
        return Optional(value)
    return value


def build(target: Any) -> Graph:
    """Return the graph that computes `target`, a lazy value or a `Pack` (see `target_of`).

    Raises:
        CycleError: nodes wait for each other.
        StaticGraphError: a declaration that no run can carry out.
    """
    return _Builder().build(target)


class _Builder:
    def __init__(self) -> None:
        self.graph = Graph()
        self.memo: dict[int, Any] = {}
        self.lazily = False
        """Some router or `otherwise` leads to a node."""
        self.lazy_edges: list[Any] = []
        self.jump_edges: list[Any] = []
        self.gated: list[tuple[int, Any]] = []
        self.jumping: list[tuple[int, Any]] = []
        """The bound nodes that have nothing but a literal and a selector; there may be many loops."""
        self.routers: list[tuple[int, Router]] = []
        self.spare: list[tuple[Gate, Any]] = []
        """The gates that still lack what stands in for their nodes."""

    @cached_property
    def gates(self) -> Gates:
        return Gates(self.reference, self.graph.index)

    @cached_property
    def pure(self) -> PureCalls:
        return PureCalls()

    def build(self, target: Any) -> Graph:
        graph = self.graph
        self.drain([target])
        graph.strict = len(graph.nodes)
        self.drain(self.lazy_edges)
        graph.needed = len(graph.nodes)
        while self.jump_edges or self.lazy_edges:
            self.drain(self.jump_edges)
            self.drain(self.lazy_edges)
        graph.root = self.reference(target)
        self.connect()
        return graph

    def drain(self, waiting: list[Any]) -> None:
        """Number what waits, the last first, and all that each needs for certain, inputs first."""
        graph = self.graph
        index = graph.index
        stack: list[Any] = []
        push, pop, get = stack.append, stack.pop, index.get
        nodes, forms, places, constants = graph.nodes, graph.forms, graph.places, graph.constants
        kinds, operands, last = graph.kinds, graph.operands, graph.last
        known_form: CallForm | None = None
        known_config: Config | None = None
        known_gate: Gate | None = None  # of the last call: nodes that were set alike often follow each other
        while waiting:
            target = waiting.pop()
            if target not in index:  # most jumps lead to where a loop begins
                push(target)
            while stack:
                node = stack[-1]
                # A plain call by position is the commonest node by far, and what a large graph is made of.
                if node.__class__ is not LazyResult or node.kwargs is not None:
                    self.step(node, stack)
                    continue
                args, config, form = node.args, node.config, node.task.form
                values: Any = args
                gate: Gate | None = None
                own: OwnConfig | None = None
                if config is not None or not form.plain:
                    if isinstance(config, OwnConfig):
                        own, config = config, config.settings
                        values = _with_ties(args, own)
                    if form is known_form and config is known_config:
                        gate = known_gate
                    else:
                        gate = known_gate = self.gates.known(node.task, config)
                        known_form, known_config = form, config
                    if gate is None or values is None:
                        self.step(node, stack)
                        continue
                if len(values) == 1 and args:
                    value = values[0]
                    cls = value.__class__
                    place = None
                    if cls is LazyResult:
                        place = get(value)
                        if place is None:
                            index[node] = OPEN
                            push(value)
                            continue
                        if place is OPEN:
                            self.refuse_cycle(stack, value)
                    elif cls in ATOMS:
                        constants.append(value)
                        place = -len(constants)
                    if place is not None:
                        pop()
                        seen = get(node)
                        if seen is None or seen is OPEN:
                            index[node] = len(nodes)
                            nodes.append(node)
                            kinds.append(CALL1)
                            forms.append(form)
                            places.append(place)
                            if gate is not None:
                                graph.gates[index[node]] = gate
                            if node.plan is None:
                                node.plan = BUILT
                        continue
                references: list[Any] = []
                unseen: list[Any] | None = None
                has_literals = False
                for value in values:
                    cls = value.__class__
                    if cls is not LazyResult:
                        if cls in ATOMS or (config is not None and config.receiver and not references):
                            references.append(cls)
                            has_literals = True
                            continue
                        if cls in SIMPLE:
                            value = self.packed(node, len(references))
                            if value.__class__ is cls:
                                references.append(cls)
                                has_literals = True
                                continue
                            cls = Pack
                        if cls is Pack:
                            number = get(value)
                            if number is None:
                                unseen = [] if unseen is None else unseen
                                number = self.number_pack(value, unseen, stack)
                            references.append(number)
                            continue
                        if not isinstance(value, Lazy):
                            break
                    number = get(value)
                    if number is None:
                        if not unseen and isinstance(value, Input):
                            number = self.number_input(value)
                        elif unseen is None:
                            unseen = [value]
                        else:
                            unseen.append(value)
                    elif number is OPEN:
                        self.refuse_cycle(stack, value)
                    references.append(number)
                else:
                    if unseen:
                        index[node] = OPEN
                        if len(unseen) == 1:
                            push(unseen[0])
                        else:
                            self.push(stack, unseen)
                        continue
                    pop()
                    seen = get(node)
                    if seen is not None and seen is not OPEN:
                        continue
                    index[node] = number = len(nodes)
                    if has_literals:
                        for which, reference in enumerate(references):
                            if reference.__class__ is not int:
                                constants.append(values[which])
                                references[which] = -len(constants)
                    count = len(args)
                    if own is not None and gate is not None:
                        gate = self.tied(gate.terms, own, references[count:])
                        del references[count:]
                    nodes.append(node)
                    forms.append(form)
                    if count == 1:
                        kinds.append(CALL1)
                        places.append(references[0])
                    elif not count:
                        kinds.append(CALL0)
                        places.append(0)
                    else:
                        kinds.append(CALLN)
                        places.append(len(operands))
                        if has_literals:
                            self.note_reads(references, number)
                        else:
                            try:
                                for reference in references:
                                    last[reference] = number
                            except IndexError:
                                self.note_reads(references, number)
                        operands.append(count)
                        operands += references
                    if gate is not None:
                        graph.gates[number] = gate
                    if node.plan is None:
                        node.plan = BUILT
                    continue
                self.step(node, stack)

    def step(self, node: Any, stack: list[Any]) -> None:
        """Number what is no plain call if its inputs are numbered; else put those that are not on the stack."""
        index = self.graph.index
        seen = index.get(node)
        unseen: list[Any] = []
        if node.__class__ is Pack:
            if seen is None or seen is OPEN:
                self.number_pack(node, unseen, stack)
        elif seen is None:
            index[node] = OPEN
            for value in self.inputs(node):
                at = index.get(value)
                if at is None:
                    unseen.append(value)
                elif at is OPEN:
                    self.refuse_cycle(stack, value)
            seen = OPEN
        if unseen:
            index[node] = OPEN
            self.push(stack, unseen)
            return
        stack.pop()
        if seen is OPEN and node.__class__ is not Pack:  # all that it waited for is numbered
            self.emit(node)

    def push(self, stack: list[Any], unseen: list[Any]) -> None:
        """Put what is not numbered on the stack, the first on top."""
        if len(unseen) >= MANY:
            unseen = unseen[self.leaves(unseen) :]
        stack += reversed(unseen)

    def tied(self, terms: Terms, own: OwnConfig, references: list[int]) -> Gate:
        """Return the gate of a call that refers to these beside its arguments, as `_with_ties` has put them."""
        gate = Gate(terms)
        if own.condition is not UNSET:
            gate.condition = references.pop(0)
        gate.after = tuple([reference for reference in references if reference >= 0])
        if own.otherwise is not UNSET:
            self.spare.append((gate, own.otherwise))
            self.later(own.otherwise)
        return gate

    def packed(self, node: LazyResult[Any], at: int) -> Any:
        """Put a `Pack` in the place of an argument that holds lazy results, a container; return what is there."""
        args = node.args
        found = freeze(args[at], self.memo, node)
        if found is not args[at]:
            node.args = (*args[:at], found, *args[at + 1 :])
        return found

    def number_pack(self, pack: Pack, unseen: list[Any], stack: list[Any]) -> int | None:
        """Number a pack whose items are numbered, and return its number; else add those that are not to `unseen`."""
        get = self.graph.index.get
        known = len(unseen)
        numbers: list[Any] = []
        for item in pack.items:
            cls = item.__class__
            if cls is LazyResult or cls is Pack or (cls not in ATOMS and isinstance(item, Lazy)):
                number = get(item)
                if number is None:
                    unseen.append(item)
                elif number is OPEN:
                    self.refuse_cycle(stack, item)
                numbers.append(number)
            else:
                numbers.append(UNSET)
        if len(unseen) > known:
            return None
        constants = self.graph.constants
        for at, number in enumerate(numbers):
            if number is UNSET:
                constants.append(pack.items[at])
                numbers[at] = -len(constants)
        return self.add(pack, PACK, None, numbers)

    def note_reads(self, references: list[int], number: int) -> None:
        """Note that node `number` is the last that reads these, so far."""
        last = self.graph.last
        last.extend(repeat(-1, 2 * number + MANY - len(last)))
        for reference in references:
            if reference >= 0:
                last[reference] = number

    def leaves(self, waiting: list[Any]) -> int:
        """Number the plain calls of one literal with which a long list of inputs begins; return how many there are.

        As `drain` would, but with one step for all of them where that is possible. Each may be a loop of its own.
        """
        graph = self.graph
        index = graph.index
        first = number = len(graph.nodes)
        for node in waiting:
            if node.__class__ is not LazyResult or node.kwargs is not None:
                break
            args, config = node.args, node.config
            if len(args) != 1 or args[0].__class__ not in ATOMS or not node.task.form.plain or node in index:
                break
            if config is not None:
                if not config.only_binds:
                    break
                self.jumping.append((number, node))
                assert config.selector is not None
                self.jump_edges += [route for route in config.selector.routes.values() if route is not None]
            index[node] = number
            number += 1
            if node.plan is None:
                node.plan = BUILT
        count = number - first
        found = waiting[:count]
        graph.nodes += found
        graph.kinds += bytes([CALL1]) * count
        graph.forms += [node.task.form for node in found]
        graph.places += range(-1 - len(graph.constants), -1 - len(graph.constants) - count, -1)
        graph.constants += [node.args[0] for node in found]
        return count

    def inputs(self, node: Any) -> list[Any]:
        """Return the lazy values and packs that must be numbered before `node`."""
        cls = node.__class__
        if isinstance(node, LazyResult):
            self.settle(node)
            found = [
                value
                for value in node.args
                if value.__class__ is LazyResult or (value.__class__ not in ATOMS and isinstance(value, (Lazy, Pack)))
            ]
            if node.kwargs:
                found += [value for value in node.kwargs.values() if isinstance(value, (Lazy, Pack))]
            config = node.config
            if isinstance(config, OwnConfig):
                if isinstance(config.condition, (Lazy, Pack)):
                    found.append(config.condition)
                found += config.after
            constraints = constraints_of(node)
            if constraints is not None:
                found += constraints.lazy.values()
            return found
        if cls is Optional:
            return [node.result]
        if isinstance(node, Router):
            selector = node.selector = self.frozen(node.selector, node)
            return [selector] if isinstance(selector, (Lazy, Pack)) else []
        return []

    def settle(self, node: LazyResult[Any]) -> None:
        """Replace the containers among the arguments that hold lazy results by packs of what they hold now."""
        for value in node.args:
            if value.__class__ not in LEAVES and is_container(value):
                own = 1 if node.config is not None and node.config.receiver else 0  # which may hold what it likes
                node.args = (*node.args[:own], *[self.frozen(value, node) for value in node.args[own:]])
                break
        kwargs = node.kwargs
        if kwargs:
            for name, value in kwargs.items():
                if value.__class__ not in LEAVES and is_container(value):
                    kwargs[name] = self.frozen(value, node)
        config = node.config
        if isinstance(config, OwnConfig):
            if config.condition is not UNSET and not isinstance(config.condition, Lazy):
                config.condition = self.frozen(config.condition, node)
            if config.otherwise is not UNSET:
                config.otherwise = self.frozen(config.otherwise, node)

    def frozen(self, value: Any, node: Lazy) -> Any:
        if value.__class__ in LEAVES or value is UNSET or isinstance(value, Lazy):
            return value
        if is_container(value):
            return freeze(value, self.memo, node)
        check_inside(value, node)
        return value

    def emit(self, node: Any) -> None:
        """Number `node`, whose inputs are numbered."""
        graph = self.graph
        if isinstance(node, Input):
            self.number_input(node)
            return
        if isinstance(node, LazyResult):
            self.emit_result(node)
        elif node.__class__ is Optional:
            self.add(node, OPTIONAL, None, [self.reference(node.result)])
        else:
            i = self.add(node, ROUTE, None, [self.reference(node.selector)])
            self.routers.append((i, node))
            node.routes = {key: self.frozen(value, node) for key, value in node.routes.items()}
            node.default = self.frozen(node.default, node)
            for route in (*node.routes.values(), node.default):
                self.later(route)
        if isinstance(node, Lazy) and node.plan is None:
            node.plan = BUILT
        assert node in graph.index

    def later(self, value: Any) -> None:
        """Walk `value` once the nodes that are needed for certain are numbered."""
        if value.__class__ not in ATOMS and isinstance(value, (Lazy, Pack)):
            self.lazily = True
            self.lazy_edges.append(value)

    def number_input(self, node: Input) -> int:
        """Number a parameter or a variable, which has a constant's place."""
        graph = self.graph
        slot = len(graph.constants)
        graph.constants.append(None)
        graph.inputs[slot] = node
        graph.index[node] = -1 - slot
        node.plan = node.plan or BUILT
        return -1 - slot

    def emit_result(self, node: LazyResult[Any]) -> None:
        config = node.config
        cls = node.__class__
        if cls is LazyResult and node.task.pure:
            twin = self.pure.find(node, self.graph.index)
            if twin is not None:
                self.graph.index[node] = twin
                node.plan = node.plan or BUILT
                return
        if isinstance(node, SubflowResult):
            kwargs = node.kwargs or {}
            i = self.add(node, SUBFLOW, node.task.form, [self.reference(value) for value in kwargs.values()])
        elif isinstance(node, MappedResult):
            kwargs = node.kwargs or {}
            form = node.task.form_of(tuple(kwargs))
            values = (*node.args, *kwargs.values())
            i = self.add(node, MAP, form, [self.reference(value) for value in values])
        else:
            form, passed = layout_of(node.task, node.args, node.kwargs)
            references = [self.reference(value) for value in passed]
            count = 2 if form.names else len(references)
            i = self.add(node, (CALL0, CALL1, CALLN)[min(count, 2)], form, references)
        if cls is LazyResult and node.task.pure:
            self.pure.keep(node, i)
        if config is not None or not node.task.is_plain or injects(node):
            self.gated.append((i, node))
            if config is not None:
                self.later(config.otherwise)
                if config.selector is not None:
                    self.jump_edges.extend(route for route in config.selector.routes.values() if route is not None)

    def add(self, node: Any, kind: int, form: Any, references: list[int]) -> int:
        graph = self.graph
        i = graph.index[node] = len(graph.nodes)
        graph.nodes.append(node)
        graph.kinds.append(kind)
        graph.forms.append(form)
        if kind == CALL1:
            graph.places.append(references[0])
        elif kind == CALL0:
            graph.places.append(0)
        else:
            graph.places.append(len(graph.operands))
            graph.operands.append(len(references))
            graph.operands.extend(references)
            if kind == CALLN:
                self.note_reads(references, i)
        return i

    def reference(self, value: Any) -> int:
        """Return the reference of a numbered lazy value or pack, or that of a new constant."""
        if value.__class__ not in ATOMS and isinstance(value, (Lazy, Pack)):
            found: int = self.graph.index[value]
            return found
        constants = self.graph.constants
        constants.append(value.value if value.__class__ is Value else value)
        return -len(constants)

    def connect(self) -> None:
        """Fill in what refers to nodes that were numbered later: routes, gates, jumps."""
        graph = self.graph
        for i, router in self.routers:
            routes = {key: self.reference(value) for key, value in router.routes.items()}
            default = None if router.default is UNSET else self.reference(router.default)
            graph.routes[i] = Routes(routes, default)
        for gate, otherwise in self.spare:
            gate.otherwise = self.reference(otherwise)
        if self.gated or self.jumping:
            self.connect_gates(self.gates)
        if self.lazily or graph.jumps:
            check_loops(graph)

    def connect_gates(self, gates: Gates) -> None:
        graph, index = self.graph, self.graph.index
        for i, node in self.gated:
            graph.gates[i] = gates.of(node)
            if node.config is not None and node.config.selector is not None:
                routes = node.config.selector.routes
                graph.jumps[i] = {key: None if to is None else self.reference(to) for key, to in routes.items()}
        for i, node in self.jumping:
            graph.gates[i] = gates.of(node, only_jumps=True)
            routes = node.config.selector.routes
            graph.jumps[i] = {key: None if to is None else index[to] for key, to in routes.items()}

    def refuse_cycle(self, stack: list[Any], again: Any) -> NoReturn:
        """Raise for `again`, which is being walked and was met a second time; draw the way around."""
        # A node that was pushed by several readers was opened where it lies topmost.
        top = {node: at for at, node in enumerate(stack)}
        opened = [node for at, node in enumerate(stack) if self.graph.index.get(node) is OPEN and top[node] == at]
        around = opened[opened.index(again) :] if again in opened else opened
        if stack[-1] is not around[-1]:
            around.append(stack[-1])
        raise CycleError(draw_cycle([_line(node) for node in around]))


def _with_ties(args: tuple[Any, ...], own: OwnConfig) -> tuple[Any, ...] | None:
    """Return what a call refers to: its arguments, condition, predecessors; None: it is to be looked at closer."""
    condition, otherwise = own.condition, own.otherwise
    for value in (condition, otherwise):
        if value is not UNSET and value.__class__ not in LEAVES and not isinstance(value, Lazy):
            return None
    return (*args, *own.after) if condition is UNSET else (*args, condition, *own.after)


def _line(node: Any) -> str:
    if isinstance(node, LazyResult):
        return f"{node.label} (declared at {node.declared})"
    return repr(node)
