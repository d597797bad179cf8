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
from cascade.spec.graph import Gate, Graph, Optional, Pack, Routes
from cascade.spec.inputs import Input
from cascade.spec.layout import layout_of
from cascade.spec.lazy import BUILT, Lazy, LazyResult, MappedResult
from cascade.spec.operations import CALL0, CALL1, CALLN, MAP, OPTIONAL, PACK, ROUTE, SUBFLOW
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

    @cached_property
    def gates(self) -> Gates:
        return Gates(self.reference, self.graph.index)

    @cached_property
    def pure(self) -> PureCalls:
        return PureCalls()

    def build(self, target: Any) -> Graph:
        graph = self.graph
        self.walk(target)
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
        index = self.graph.index
        while waiting:
            target = waiting.pop()
            if target not in index:  # most jumps lead to where a loop begins
                self.walk(target)

    def walk(self, target: Any) -> None:
        """Number `target` and all that it needs for certain, inputs first."""
        index = self.graph.index
        stack = [target]
        push, pop, get = stack.append, stack.pop, index.get
        graph = self.graph
        nodes, forms, places, constants = graph.nodes, graph.forms, graph.places, graph.constants
        kinds, operands, last = graph.kinds, graph.operands, graph.last
        while stack:
            node = stack[-1]
            # A plain call by position is the commonest node by far, and what a large graph is made of.
            if node.__class__ is LazyResult and node.kwargs is None:
                args, config = node.args, node.config
                form = node.task.form
                gate: Gate | None = None
                is_short = form.plain
                if config is not None or not is_short:
                    gate = self.gates.known(node.task, config)
                    is_short = gate is not None
                if len(args) == 1 and is_short:
                    value = args[0]
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
                if is_short:
                    references: list[Any] = []
                    unseen: list[Any] | None = None
                    has_literals = False
                    for value in args:
                        cls = value.__class__
                        if cls is LazyResult:
                            number = get(value)
                            if number is None:
                                unseen = unseen or []
                                unseen.append(value)
                            elif number is OPEN:
                                self.refuse_cycle(stack, value)
                            references.append(number)
                        elif cls in ATOMS or (config is not None and config.receiver and not references):
                            references.append(cls)
                            has_literals = True
                        elif cls in SIMPLE or cls is Pack:
                            pack = value if cls is Pack else self.packed(node, len(references))
                            if pack is value and cls is not Pack:
                                references.append(cls)
                                has_literals = True
                                continue
                            number = get(pack)
                            if number is None:
                                number, unseen = self.number_pack(pack, unseen)
                            if number is OPEN:
                                break
                            references.append(number)
                        else:
                            break
                    else:
                        if unseen is not None:
                            index[node] = OPEN
                            stack += reversed(unseen)
                            continue
                        pop()
                        seen = get(node)
                        if seen is None or seen is OPEN:
                            index[node] = number = len(nodes)
                            nodes.append(node)
                            kinds.append(CALLN if len(args) > 1 else CALL1 if args else CALL0)
                            forms.append(form)
                            places.append(len(operands) if len(args) > 1 else 0)
                            if has_literals:
                                for which, reference in enumerate(references):
                                    if reference.__class__ is not int:
                                        constants.append(args[which])
                                        references[which] = -len(constants)
                            if len(args) == 1:
                                places[number] = references[0]
                            elif has_literals:
                                self.note_reads(references, number)
                            else:
                                try:
                                    for reference in references:
                                        last[reference] = number
                                except IndexError:
                                    self.note_reads(references, number)
                            if len(args) > 1:
                                operands.append(len(args))
                                operands += references
                            if gate is not None:
                                graph.gates[index[node]] = gate
                            if node.plan is None:
                                node.plan = BUILT
                        continue
            seen = get(node)
            if seen is not None:
                pop()
                if seen is OPEN:  # on top again: all that it waited for is numbered
                    self.emit(node)
                continue
            waiting = self.inputs(node)
            index[node] = OPEN
            if len(waiting) >= MANY:
                waiting = waiting[self.leaves(waiting) :]
            fresh: list[Any] = []
            for child in waiting:
                at = get(child)
                if at is None:
                    fresh.append(child)
                elif at is OPEN:
                    self.refuse_cycle(stack, child)
            if fresh:
                stack.extend(reversed(fresh))
                continue
            pop()
            self.emit(node)

    def packed(self, node: LazyResult[Any], at: int) -> Any:
        """Put a `Pack` in the place of an argument that is a simple container, and return it.

        Returns the container itself if it holds atoms alone, and OPEN if `freeze` has to look closer.
        """
        container = node.args[at]
        known = self.memo.get(id(container))
        if known is not None:
            pack = known[1]
        else:
            items = container
            if container.__class__ is dict:
                for key in container:
                    if key.__class__ not in ATOMS:
                        return OPEN
                items = container.values()
            if len(container) >= MANY:
                return OPEN
            pack = container
            for item in items:
                cls = item.__class__
                if cls is LazyResult:
                    pack = None
                elif cls not in ATOMS:
                    return OPEN
            if pack is None:
                keys = tuple(container) if items is not container else None
                pack = Pack(container.__class__, tuple(items), keys)
            self.memo[id(container)] = (container, pack)
        if pack is not container:
            args = node.args
            node.args = (*args[:at], pack, *args[at + 1 :])
        return pack

    def number_pack(self, pack: Pack, unseen: list[Any] | None) -> tuple[Any, list[Any] | None]:
        """Number a pack whose items are numbered; else add those that are not to what is unseen.

        Returns its number, None without one, or OPEN if it is not for the walk; and what is unseen.
        """
        if pack is OPEN:
            return OPEN, unseen
        get = self.graph.index.get
        numbers: list[Any] = []
        waits = False
        for item in pack.items:
            cls = item.__class__
            if cls is LazyResult:
                number = get(item)
                if number is None:
                    waits = True
                    unseen = unseen or []
                    unseen.append(item)
                elif number is OPEN:
                    return OPEN, unseen
                numbers.append(number)
            elif cls in ATOMS:
                numbers.append(UNSET)
            else:
                return OPEN, unseen
        if waits:
            return None, unseen
        constants = self.graph.constants
        for at, number in enumerate(numbers):
            if number is UNSET:
                constants.append(pack.items[at])
                numbers[at] = -len(constants)
        return self.add(pack, PACK, None, numbers), unseen

    def note_reads(self, references: list[int], number: int) -> None:
        """Note that node `number` is the last that reads these, so far."""
        last = self.graph.last
        last.extend(repeat(-1, 2 * number + MANY - len(last)))
        for reference in references:
            if reference >= 0:
                last[reference] = number

    def leaves(self, waiting: list[Any]) -> int:
        """Number the plain calls of one literal with which a long list of inputs begins; return how many there are.

        As `walk` would, but with one step for all of them where that is possible. Each may be a loop of its own.
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
            if config is not None:
                if isinstance(config.condition, (Lazy, Pack)):
                    found.append(config.condition)
                found += config.after
            constraints = constraints_of(node)
            if constraints is not None:
                found += constraints.lazy.values()
            return found
        if cls is Pack:
            return [
                item
                for item in node.items
                if item.__class__ is LazyResult or (item.__class__ not in ATOMS and isinstance(item, (Lazy, Pack)))
            ]
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
        if config is not None:
            if config.condition is not UNSET and not isinstance(config.condition, Lazy):
                config.condition = self.frozen(config.condition, node)
            if config.otherwise is not UNSET:
                config.otherwise = self.frozen(config.otherwise, node)

    def frozen(self, value: Any, node: Lazy) -> Any:
        if is_container(value):
            return freeze(value, self.memo, node)
        if value.__class__ not in ATOMS and value is not UNSET:
            check_inside(value, node)
        return value

    def emit(self, node: Any) -> None:
        """Number `node`, whose inputs are numbered."""
        graph = self.graph
        if isinstance(node, Input):
            self.emit_input(node)
            return
        if isinstance(node, LazyResult):
            self.emit_result(node)
        elif node.__class__ is Pack:
            index = graph.index
            items = [index[item] if item.__class__ is LazyResult else self.item(item) for item in node.items]
            self.add(node, PACK, None, items)
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
        if isinstance(value, (Lazy, Pack)):
            self.lazily = True
            self.lazy_edges.append(value)

    def emit_input(self, node: Input) -> None:
        graph = self.graph
        graph.constants.append(None)
        slot = len(graph.constants) - 1
        graph.inputs[slot] = node
        graph.index[node] = -1 - slot
        node.plan = node.plan or BUILT

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
        if isinstance(value, (Lazy, Pack)):
            found: int = self.graph.index[value]
            return found
        constants = self.graph.constants
        constants.append(value.value if value.__class__ is Value else value)
        return -len(constants)

    def item(self, value: Any) -> int:
        """Return the reference of what a container holds: nothing is unwrapped there."""
        return self.reference(Value(value) if value.__class__ is Value else value)

    def connect(self) -> None:
        """Fill in what refers to nodes that were numbered later: routes, gates, jumps."""
        graph = self.graph
        for i, router in self.routers:
            routes = {key: self.reference(value) for key, value in router.routes.items()}
            default = None if router.default is UNSET else self.reference(router.default)
            graph.routes[i] = Routes(routes, default)
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


def _line(node: Any) -> str:
    if isinstance(node, LazyResult):
        return f"{node.label} (declared at {node.declared})"
    return repr(node)
