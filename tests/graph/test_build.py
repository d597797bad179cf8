"""The graph: one node for each lazy result, in topological order, built without recursion; its views and its shape."""

import gc
import random
import re
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.lowering.lower import lower
from cascade.graph.build import build, target_of
from cascade.runtime import Engine
from cascade.spec.graph import Edge, Graph, Node
from cascade.spec.operations import PACK
from cascade.testing import MockSolver, SpySolver
from tests.workflows import Tier, every_tier, in_loop, run

DEEP = 200_000


@cs.task(mode="inline")
def inc(x: int) -> int:
    return x + 1


@cs.task(mode="inline")
def add(*numbers: Any) -> Any:
    return sum(numbers)


@cs.task(mode="inline")
def other(x: int) -> int:
    return x - 1


@cs.task(mode="inline")
def spelled(x: Any) -> str:
    return repr(x)


def graph_of(target: Any) -> Graph:
    return build(target_of(target))


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph]


class TestSize:
    @pytest.mark.timeout(240)
    @every_tier
    def test_a_chain_of_200_000_builds_and_runs(self, tier: Tier) -> None:
        length = DEEP // 5 if tier == "compile" else DEEP  # so much code takes Python long
        value: Any = 0
        for _ in range(length):
            value = inc(value)
        assert len(graph_of(value)) == length
        assert run(value, tier=tier) == length

    @every_tier
    def test_so_does_one_by_keyword_in_lists_and_by_order(self, tier: Tier) -> None:
        by_keyword: Any = 0
        for _ in range(10_000):
            by_keyword = inc(x=by_keyword)
        in_lists: Any = [1]
        for _ in range(10_000):
            in_lists = [add(1, in_lists[0])]
        by_order = add()
        for _ in range(10_000):
            by_order = add().after(by_order)
        assert run([by_keyword, in_lists, by_order], tier=tier) == [10_000, [10_001], 0]

    @every_tier
    def test_so_does_one_of_conditions_routers_and_subflows(self, tier: Tier) -> None:
        gated = inc(0)
        for _ in range(5_000):
            gated = inc(1).run_if(gated)
        routed: Any = inc(0)
        for _ in range(5_000):
            routed = cs.Router(1, {1: routed, 2: inc(5)})
        spare: Any = inc(0)
        for _ in range(5_000):
            spare = inc(1).run_if(False, otherwise=spare)
        assert run([gated, routed, spare], tier=tier) == [2, 1, 1]

    @every_tier
    def test_a_flat_graph_of_many_nodes(self, tier: Tier) -> None:
        assert run(add(*[inc(n) for n in range(20_000)]), tier=tier) == sum(range(20_001))

    def test_a_long_chain_is_let_go_without_recursion(self) -> None:
        value: Any = 0
        for _ in range(DEEP):
            value = inc(value)
        graph = graph_of(value)
        held = weakref.ref(value)
        del value, graph
        gc.collect()
        assert held() is None


class TestNodes:
    def test_there_is_one_for_each_lazy_result(self) -> None:
        shared = inc(1)
        graph = graph_of([add(shared, shared, shared), inc(shared), [shared]])
        assert sum(node is shared for node in graph.nodes) == 1
        assert sorted(names(graph)) == ["add", "inc", "inc", "list", "list"]

    def test_they_stand_after_their_inputs_from_left_to_right(self) -> None:
        a, b, c = inc(1).named("a"), inc(2).named("b"), inc(3).named("c")
        target = add(add(a, b).named("ab"), c, add(b, a).named("ba").after(c)).named("all")
        assert names(graph_of(target)) == ["a", "b", "ab", "c", "ba", "all"]

    def test_every_random_graph_is_in_topological_order(self) -> None:
        random_ = random.Random(7)
        for _ in range(50):
            made: list[Any] = [inc(0)]
            for _ in range(60):
                chosen = random_.sample(made, min(len(made), random_.randint(0, 3)))
                lazy = add(*chosen[:1], [chosen[1:]]) if len(chosen) > 1 else add(*chosen)
                if random_.random() < 0.2:
                    lazy.run_if(random_.choice(made))
                if random_.random() < 0.2:
                    lazy.after(random_.choice(made))
                made.append(lazy)
            graph = graph_of(made[::-1])
            assert len({id(node) for node in graph.nodes}) == len(graph)
            assert all(edge.source < edge.target for edge in graph.edges() if edge.source >= 0)

    @pytest.mark.parametrize("seed", range(20))
    def test_a_long_list_of_calls_and_loops_is_numbered_like_a_short_one(
        self, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chance = random.Random(seed)

        def node(n: int) -> Any:
            found = inc(n) if chance.random() < 0.9 else inc(inc(n))
            kind = chance.random()
            if kind < 0.6:
                away = {} if kind < 0.5 else {"away": other(n), "back": found}
                cs.bind(found, cs.select_jump({"again": found, "exit": None, **away}))
            if kind < 0.02:
                found.named("special")
            elif 0.9 < kind < 0.92:
                found.run_if(n)
            elif 0.58 < kind < 0.6:
                found.with_retry(2)
            return found

        def described(graph: Graph) -> Any:
            nodes = [(graph.name(i), graph.kinds[i], graph.references(i)) for i in range(len(graph))]
            gates = {i: (gate.key(), gate.is_plain, gate.is_shared) for i, gate in graph.gates.items()}
            return nodes, gates, graph.jumps, graph.constants, graph.strict, graph.needed, graph.root

        targets = [node(n) for n in range(60)]
        found = described(graph_of(targets))
        monkeypatch.setattr("cascade.graph.build.MANY", 1000)
        assert found == described(graph_of(targets))

    def test_a_node_that_nobody_needs_is_not_there(self) -> None:
        shared = inc(1)
        other(shared)
        assert names(graph_of(inc(shared))) == ["inc", "inc"]

    def test_those_that_may_not_run_stand_behind_those_that_do(self) -> None:
        step = inc(1).named("state")
        cs.bind(step, cs.select_jump({"next": inc(2).named("entered"), "exit": None}))
        target = [cs.Router(1, {1: inc(3).named("route")}), inc(4).run_if(False, otherwise=inc(5).named("spare")), step]
        graph = graph_of(target)
        assert names(graph)[: graph.strict] == ["router", "inc", "state", "list"]
        assert sorted(names(graph)[graph.strict : graph.needed]) == ["route", "spare"]
        assert names(graph)[graph.needed :] == ["entered"]


class TestViews:
    def test_a_node_is_looked_at_with_its_kind_and_its_place(self) -> None:
        lazy = inc(1).named("one")
        graph = graph_of([lazy, inc.map(x=[1]), cs.Router(1, {1: 2}), cs.subflow(inc(1)), cs.sequence([inc(2)])])
        assert [(node.kind, node.name) for node in graph] == [
            ("task", "one"),
            ("map", "inc"),
            ("router", "router"),
            ("subflow", "subflow"),
            ("task", "inc"),
            ("optional", "optional"),
            ("container", "list"),
        ]
        assert graph.node(0) == Node(0, "task", "one", lazy.declared)
        assert lazy.declared.startswith(f"{__file__}:")

    def test_edges_have_kinds_and_names(self) -> None:
        a, b, c, d, e = (inc(n).named(name) for n, name in enumerate("abcde"))
        param = cs.Param("p", default=1)
        router = cs.Router(d, {"left": e, "value": 3}, default=param)
        target = other(x=a).run_if(b, otherwise=[param, 1]).after(c).named("target")
        cs.bind(target, cs.select_jump({"again": target, "exit": None}))
        graph = graph_of(add(target, router))
        spelled = {
            (graph.name(edge.source) if edge.source >= 0 else "input", graph.name(edge.target), edge.kind, edge.name)
            for edge in graph.edges()
        }
        assert spelled == {
            ("a", "target", "data", "x"),
            ("b", "target", "condition", "run_if"),
            ("list", "target", "otherwise", "otherwise"),
            ("input", "list", "data", "0"),
            ("c", "target", "sequence", "next"),
            ("target", "target", "jump", "again"),
            ("d", "router", "selector", ""),
            ("e", "router", "route", "left"),
            ("input", "router", "route", "default"),
            ("target", "add", "data", "0"),
            ("router", "add", "data", "1"),
        }

    def test_arguments_and_items_are_named(self) -> None:
        @cs.task
        def f(a: Any, b: Any = 0, *, key: Any = 0) -> None: ...

        graph = graph_of(f(inc(1), key={"k": inc(2), 3: inc(4)}, b=[inc(5), 6]))
        edges = [(graph.name(edge.target), edge.kind, edge.name) for edge in graph.edges()]
        assert edges == [
            ("dict", "data", "k"),
            ("dict", "data", "3"),
            ("list", "data", "0"),
            ("f", "data", "a"),
            ("f", "data", "b"),
            ("f", "data", "key"),
        ]

    def test_the_edges_of_one_node(self) -> None:
        graph = graph_of(add(one := inc(1), inc(one)))
        assert list(graph.edges_of(2)) == [Edge(0, 2, "data", "0"), Edge(1, 2, "data", "1")]
        assert list(graph.edges_of(0)) == []


class TestShape:
    def test_the_same_declaration_with_other_literals_has_the_same_shape(self) -> None:
        def flow(n: Any, values: list[Any]) -> Any:
            base = inc(n)
            gated = add(base, n, [base, n], values).run_if(inc(n), otherwise=n).after(base).named("gated")
            router = cs.Router(n, {"a": gated, "b": n}, default=n)
            return [
                add(router, cs.Param("p", default=1)),
                inc.map(x=values).with_retry(2),
                inc(n).with_constraints(g=1),
            ]

        one, same = graph_of(flow(1, [1])).shape, graph_of(flow("x", [2, 3])).shape
        assert one == same
        assert len({one, same}) == 1

    def test_so_has_a_loop_declared_again(self) -> None:
        def loop(n: int) -> Any:
            step = inc(n)
            return cs.bind(step, cs.select_jump({"again": step, "exit": None}), max_iterations=9)

        assert graph_of(loop(1)).shape == graph_of(loop(2)).shape

    @pytest.mark.parametrize(
        "vary",
        [
            lambda odd: add(inc(1), inc(2)) if odd else add(inc(1), 2),
            lambda odd: add(*[inc(1)] * (2 if odd else 3)),
            lambda odd: (inc if odd else other)(1),
            lambda odd: inc(1).run_if(True) if odd else inc(1),
            lambda odd: inc(1).with_retry(3 if odd else 4),
            lambda odd: inc(1).with_constraints(gpu=1 if odd else 2),
            lambda odd: inc(1).named("a" if odd else "b"),
            lambda odd: inc(1).after(inc(2)) if odd else inc(1),
            lambda odd: inc(1).run_if(True, otherwise=1) if odd else inc(1).run_if(True),
            lambda odd: add([inc(1)]) if odd else add((inc(1),)),
            lambda odd: add({"a" if odd else "b": inc(1)}),
            lambda odd: inc.map(x=[1]) if odd else inc(1),
            lambda odd: inc.map(x=[1], concurrency=1 if odd else 2),
            lambda odd: cs.Router(1, {"a" if odd else "b": inc(1)}),
            lambda odd: cs.Router(1, {1: inc(1)}, default=2) if odd else cs.Router(1, {1: inc(1)}),
            lambda odd: cs.Param("a" if odd else "b"),
            lambda odd: inc(cs.Param("a" if odd else "b")),
            lambda odd: inc(cs.Param("a", default=1 if odd else 2)),
            lambda odd: inc(cs.Param("a", default=None) if odd else cs.Env("a", default=None)),
            lambda odd: inc(cs.Param("a", type=int if odd else str)),
            lambda odd: inc(cs.Param("a", default=1 if odd else True, type=int)),
            lambda odd: cs.bind(inc(1), cs.select_jump({"a" if odd else "b": None})),
            lambda odd: cs.bind(inc(1), cs.select_jump({"a": None})) if odd else inc(1),
            lambda odd: cs.bind(inc(1), cs.select_jump({"a": None}), max_iterations=1 if odd else 2),
            lambda odd: inc(x=1) if odd else inc(1),
        ],
    )
    def test_another_structure_has_another_shape(self, vary: Callable[[bool], Any]) -> None:
        shapes = [graph_of([vary(odd)]).shape for odd in (True, False)]
        assert shapes[0] != shapes[1]

    def test_another_place_of_declaration_has_another_shape(self) -> None:
        def here() -> Any:
            return inc(1)

        def there() -> Any:
            return inc(1)

        assert graph_of(here()).shape == graph_of(here()).shape
        assert graph_of(here()).shape != graph_of(there()).shape

    def test_another_task_has_another_shape(self) -> None:
        made = []
        for _ in range(2):

            @cs.task
            def f() -> None: ...

            made.append(f)
        shapes = [graph_of(f()).shape for f in (*made, made[0])]
        assert shapes[0] == shapes[2]
        assert shapes[0] != shapes[1]


class TestContainersInTheWalk:
    """Simple containers are packed in the walk; what comes out is as if each had been frozen."""

    def drawn(self, seed: int) -> Any:
        drawing = random.Random(seed)
        nodes: list[Any] = [cs.Param("p", default=3)]
        containers: list[Any] = [[]]

        def value(depth: int = 2) -> Any:
            kind = drawing.random()
            if kind < 0.45:
                return drawing.choice(nodes)
            if kind < 0.6 or not depth:
                return drawing.randrange(100)
            if kind < 0.7:
                return drawing.choice(containers)  # one that is shared
            inner = [value(depth - 1) for _ in range(drawing.choice((0, 1, 2, 3, 17)))]
            made = drawing.choice((list, tuple, lambda items: dict(enumerate(items)), deque))(inner)
            containers.append(made)
            return made

        for i in range(drawing.randrange(2, 12)):
            gather = cs.task(name=f"gather{i}", mode="inline")(lambda *values: repr(values))
            nodes.append(gather(*[value() for _ in range(drawing.randrange(4))]))
        return [node for node in nodes if drawing.random() < 0.5] + nodes[-1:]

    def seen(self, target: Any) -> Any:
        graph = graph_of(target)
        references = [
            [
                graph.nodes[at].label if at >= 0 and isinstance(graph.nodes[at], cs.LazyResult) else at < 0
                for at in at_all
            ]
            for at_all in map(graph.references, range(len(graph)))
        ]
        return sorted(zip(names(graph), map(str, references), strict=True)), run(target)

    def test_they_come_to_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for seed in range(150):
            in_the_walk = self.seen(self.drawn(seed))
            with monkeypatch.context() as patched:
                patched.setattr("cascade.graph.build.SIMPLE", frozenset())
                target = self.drawn(seed)
                assert self.seen(target) == in_the_walk
            assert self.seen(target) == in_the_walk  # once more, of what was frozen

    def test_tasks_stand_in_the_order_in_which_they_were_met(self) -> None:
        def named(label: str, *values: Any) -> Any:
            return add(*values).named(label)

        target = named("f", [named("a"), named("b", (named("c"),))], named("d"), {"x": named("e")})
        assert [name for name in names(graph_of(target)) if len(name) == 1] == ["a", "c", "b", "d", "e", "f"]


class TestTiesInTheWalk:
    """Conditions and predecessors are numbered with the arguments; what comes out is as if each node was looked at."""

    def drawn(self, seed: int) -> Any:
        drawing = random.Random(seed)
        nodes: list[Any] = [cs.Param("p", default=3), inc(1)]

        def value() -> Any:
            kind = drawing.random()
            if kind < 0.6:
                return drawing.choice(nodes)
            if kind < 0.75:
                return drawing.randrange(9)
            if kind < 0.85:
                return cs.Value(drawing.randrange(9))
            return [drawing.choice(nodes), drawing.choice(nodes)]

        for i in range(drawing.randrange(3, 14)):
            kind = drawing.random()
            if kind < 0.1:
                node: Any = cs.Router(drawing.choice((1, 2, nodes[0])), {1: value(), 2: value()}, default=value())
            elif kind < 0.2:
                node = spelled.map(x=[drawing.choice(nodes), drawing.randrange(9)])
            else:
                gather = cs.task(name=f"gather{i}", mode="inline")(lambda *values: repr(values))
                node = gather(*[value() for _ in range(drawing.randrange(3))])
            if isinstance(node, cs.LazyResult):
                if drawing.random() < 0.5:
                    node.run_if(value(), **({"otherwise": value()} if drawing.random() < 0.4 else {}))
                if drawing.random() < 0.3:
                    node.after(*[drawing.choice(nodes) for _ in range(drawing.randrange(3))])
                if drawing.random() < 0.3:
                    node.with_retry(2)
                if drawing.random() < 0.2:
                    node.run_if(value())
                if drawing.random() < 0.2:
                    node.named(f"named{i}")
            nodes.append(node)
        return [node for node in nodes if drawing.random() < 0.5] + nodes[-1:]

    def seen(self, target: Any) -> Any:
        """Describe the graph by its calls and routers: when containers are numbered makes no difference."""
        graph = graph_of(target)
        ops = lower(graph).root.ops
        order = [i for i in range(len(graph)) if graph.kinds[i] != PACK]

        def shown(at: int | None) -> Any:
            if at is None:
                return None
            if at >= 0:
                return order.index(at) if graph.kinds[at] != PACK else list(map(shown, graph.references(at)))
            return graph.inputs[-1 - at].name if -1 - at in graph.inputs else repr(graph.constants[-1 - at])

        def gate(i: int) -> Any:
            found = graph.gates.get(i)
            ties = None if found is None else (shown(found.condition), shown(found.otherwise), *map(shown, found.after))
            return None if found is None else (ties, found.terms.key())

        nodes = [(graph.name(i), ops[i], list(map(shown, graph.references(i))), gate(i)) for i in order]
        try:
            return nodes, run(target)
        except cs.DependencyMissingError as error:  # it was skipped, and nothing stands in
            return nodes, str(error)

    def test_they_come_to_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for seed in range(200):
            in_the_walk = self.seen(self.drawn(seed))
            with monkeypatch.context() as patched:
                patched.setattr("cascade.graph.build._with_ties", lambda args, own: None)
                assert self.seen(self.drawn(seed)) == in_the_walk


class TestCycles:
    def drawn(self, target: Any) -> list[str]:
        with pytest.raises(cs.CycleError, match="these nodes wait for each other, so none can start") as caught:
            graph_of(target)
        lines = str(caught.value).splitlines()
        assert lines[-1] == "(to repeat work use cs.bind and cs.Jump)"
        body = [re.fullmatch(r"[ └>]*(\w+)(?:#\d+)? \(declared at (.+):\d+\)", line) for line in lines[1:-1]]
        assert all(match is not None and match[2] == __file__ for match in body)
        return [match[1] for match in body if match is not None]

    def around(self, names: list[str], *cycle: str) -> bool:
        """Tell whether these names go once around the cycle, from anywhere, and end where they began."""
        turns = [[*cycle[at:], *cycle[:at], cycle[at]] for at in range(len(cycle))]
        return names in turns

    def test_by_order_is_drawn_with_task_names(self) -> None:
        a, b, c = inc(1).named("a"), inc(2).named("b"), inc(3).named("c")
        a.after(b)
        b.after(c)
        c.after(a)
        for target in (a, b, [c], add(1, b), [inc(9), a]):
            assert self.around(self.drawn(target), "a", "b", "c")

    def test_of_one_node(self) -> None:
        a = inc(1).named("a")
        a.after(a)
        assert self.drawn(a) == ["a", "a"]

    def test_is_drawn_without_what_only_leads_there(self) -> None:
        y, w, x = inc(1).named("y"), inc(2).named("w"), inc(3).named("x")
        y.after(w)
        w.after(y)
        x.after(y)
        assert self.around(self.drawn(add(x, y)), "y", "w")
        assert self.around(self.drawn([y, x, [w, x]]), "y", "w")

    def test_by_condition_and_data(self) -> None:
        a = inc(1).named("a")
        b = inc(a).named("b")
        a.run_if(b)
        assert self.around(self.drawn(b), "b", "a")

    def test_by_a_container(self) -> None:
        values: list[Any] = []
        a = add(values).named("a")
        b = inc(a).named("b")
        values.append(b)
        with pytest.raises(cs.CycleError, match=r"a \(declared at .*"):
            graph_of(b)

    def test_by_way_of_a_route_or_an_otherwise(self) -> None:
        a = inc(1).named("a")
        b = inc(cs.Router(1, {1: a})).named("b")
        a.after(b)
        c = inc(1).named("c").run_if(False)
        d = inc(c).named("d")
        c.run_if(False, otherwise=d)
        for target, cycle in ((a, ("a", "b")), (b, ("a", "b")), (c, ("c", "d")), (d, ("c", "d"))):
            with pytest.raises(cs.CycleError, match="these nodes wait for each other") as caught:
                graph_of(target)
            assert all(f"{name} (declared at {__file__}:" in str(caught.value) for name in cycle)

    def test_long_ones_are_found_without_recursion(self) -> None:
        first = last = inc(0)
        for _ in range(20_000):
            last = inc(1).after(last)
        first.after(last)
        assert len(self.drawn(last)) == 20_002

    def test_is_found_before_the_run_on_every_door(self) -> None:
        a = inc(1)
        a.after(a)
        engine = Engine()
        for door in (
            cs.compile,
            lambda it: cs.run(it, log_level="SILENT"),
            lambda it: engine.register_blueprint("x", it),
        ):
            with pytest.raises(cs.CycleError):
                door(a)

    def test_a_node_that_two_others_need_is_no_cycle(self) -> None:
        shared = inc(1)
        assert run(add(inc(shared), inc(shared)).after(shared)) == 6


class TestSolvers:
    @every_tier
    def test_another_solver_plugs_in(self, tier: Tier) -> None:
        order: list[int] = []

        @cs.task(mode="inline")
        def note(n: int) -> int:
            order.append(n)
            return n

        solver = MockSolver(lambda graph: reversed(range(graph.strict)))
        assert run([note(0), note(1), note(2)], tier=tier, solver=solver) == [0, 1, 2]
        assert order == [2, 1, 0]

    @every_tier
    def test_its_order_is_a_preference_and_never_a_wall(self, tier: Tier) -> None:
        chain = add(inc(inc(inc(0))), inc(5))
        assert run(chain, tier=tier, solver=MockSolver(lambda graph: reversed(range(graph.strict)))) == 9

    @every_tier
    def test_it_is_given_the_graph_once_a_plan(self, tier: Tier) -> None:
        solver = SpySolver()
        target = inc(inc(1))

        async def main() -> None:
            async with Engine(solver, tier=tier) as engine:
                assert [await engine.run(target) for _ in range(3)] == [3, 3, 3]

        in_loop(main)
        assert [len(graph) for graph in solver.graphs] == [2]

    @pytest.mark.parametrize("order", [[0], [0, 0], [0, 2], [0, 1, 2], [1, "0"]])
    def test_an_order_that_is_no_permutation_is_refused(self, order: list[Any]) -> None:
        with pytest.raises((cs.StaticGraphError, TypeError)):
            run(inc(inc(1)), solver=MockSolver(order))

    def test_the_native_one_orders_topologically(self) -> None:
        from cascade.adapters.solvers.native import NativeSolver

        graph = graph_of(add(inc(1), inc(inc(2))))
        order = NativeSolver().solve(graph)
        numbers = list(range(graph.strict)) if order is None else list(order)
        done: set[int] = set()
        for number in numbers:
            assert set(graph.references(number)) & set(range(len(graph))) <= done
            done.add(number)
