"""Entries: each starts from the declaration, and what runs again in one, once in a loop, and once in a run."""

import os
from typing import Any

import pytest

import cascade as cs
from tests.workflows import Body, Way, every_body, every_way, inline


def loop(step: Any, **options: Any) -> Any:
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}), **options)


class Calls(list[Any]):
    """Counts calls of tasks by name."""

    def task(self, name: str, **options: Any) -> Any:
        """Return a task that notes that it ran, and gives how often it had run before."""

        @cs.task(name=name, mode="inline", **options)
        def noted(*inputs: Any) -> int:
            self.append(name)
            return self.count(name) - 1

        return noted


@inline
def step(n: int, a: Any = None, b: Any = None) -> Any:
    return cs.Jump("again", {"n": n + 1}) if n < 30 else (n, a, b)


# --- overrides


@every_way
@every_body
def test_an_override_holds_for_one_entry(way: Way, body: Body) -> None:
    seen = []

    @body
    def note(n: int, tag: str = "default", *, mark: str = "unmarked") -> Any:
        seen.append((tag, mark))
        if n == 40:
            return "done"
        sent = {"n": n + 1}
        return cs.Jump("again", sent if n % 3 else {**sent, "tag": "sent", "mark": "marked"})

    assert way.run(loop(note(0, "declared"))) == "done"
    assert seen == [("sent", "marked") if n % 3 == 1 else ("declared", "unmarked") for n in range(41)]


@every_way
def test_the_first_argument_returns_to_its_declaration(way: Way) -> None:
    seen: list[Any] = []

    @inline
    def note(value: Any) -> Any:
        seen.append(value)
        return cs.Jump("again", "sent" if len(seen) % 2 else None) if len(seen) < 40 else "done"

    assert way.run(loop(note("declared"))) == "done"
    assert seen == ["declared", "sent"] * 20


# --- data inputs


@every_way
@every_body
def test_each_further_entry_runs_the_inputs_again(way: Way, body: Body) -> None:
    calls: list[str] = []

    @body
    def base() -> int:
        calls.append("base")
        return calls.count("base")

    @body
    def both(x: int, y: int) -> tuple[int, int]:
        calls.append("both")
        return x, y

    shared = base()
    assert way.run(loop(step(0, both(shared, shared)))) == (30, (31, 31), None)
    assert calls == ["base", "both"] * 31


@every_way
def test_what_feeds_only_overridden_arguments_does_not_run(way: Way) -> None:
    calls = Calls()
    deep, a, b = calls.task("deep"), calls.task("a"), calls.task("b")

    @inline
    def note(n: int, a: Any, b: Any) -> Any:
        if n == 60:
            return "done"
        return cs.Jump("again", {"n": n + 1, "a": "sent"} if n % 2 else {"n": n + 1, "b": "sent"})

    both = deep()
    assert way.run(loop(note(0, a(deep()), b(both, deep())))) == "done"
    assert calls.count("a") == 1 + 30
    assert calls.count("b") == 1 + 30
    assert calls.count("deep") == 3 + 30 * 1 + 30 * 2


@every_way
def test_what_feeds_another_argument_too_runs(way: Way) -> None:
    calls = Calls()
    shared = calls.task("shared")()
    a = calls.task("a")(shared)

    @inline
    def note(n: int, a: Any, b: Any) -> Any:
        return cs.Jump("again", {"n": n + 1, "a": "sent"}) if n < 30 else (a, b)

    assert way.run(loop(note(0, a, [shared]))) == ("sent", [30])
    assert calls.count("shared") == 31
    assert calls.count("a") == 1


@every_way
def test_what_feeds_an_overridden_argument_is_no_skip(way: Way) -> None:
    feed = Calls().task("feed")

    @inline
    def note(n: Any) -> Any:
        return cs.Jump("again", n + 1) if n < 30 else n

    assert way.run(loop(note(feed()))) == 30
    assert way.skipped() == []


@every_way
def test_containers_and_routers_are_read_again(way: Way) -> None:
    calls = Calls()
    a, b = calls.task("a"), calls.task("b")

    @inline
    def note(n: int, data: Any, chosen: Any) -> Any:
        data["list"].append("changed by the task")
        return cs.Jump("again", {"n": n + 1}) if n < 30 else (data, chosen)

    key = inline(lambda count: "odd" if count % 2 else "even")(calls.task("key")())
    target = note(0, {"list": [a(), 5]}, cs.Router(key, {"even": b(), "odd": "odd"}))
    data, chosen = way.run(loop(target))
    assert data == {"list": [30, 5, "changed by the task"]}
    assert chosen == 15
    assert (calls.count("a"), calls.count("b")) == (31, 16)


@every_way
def test_the_condition_and_its_inputs_run_again(way: Way) -> None:
    calls = Calls()
    condition = inline(lambda count: count < 20)(calls.task("reading")())
    assert way.run(loop(step(0).run_if(condition, otherwise="stopped"))) == "stopped"
    assert calls.count("reading") == 21


@every_way
def test_a_lazy_otherwise_runs_only_where_the_entry_is_skipped(way: Way) -> None:
    calls = Calls()
    condition = inline(lambda count: count < 20)(calls.task("reading")())
    assert way.run(loop(step(0).run_if(condition, otherwise=calls.task("otherwise")()))) == 0
    assert calls.count("otherwise") == 1


# --- the first entry


@every_way
@every_body
def test_a_node_that_others_read_runs_once_for_both(way: Way, body: Body) -> None:
    calls = Calls()

    @body
    def feed() -> int:
        calls.append("feed")
        return calls.count("feed")

    shared = feed()
    assert way.run([loop(step(0, shared)), shared]) == [(30, 31, None), 1]
    assert calls.count("feed") == 31


@every_way
def test_a_loop_that_ends_at_once_runs_its_inputs_once(way: Way) -> None:
    calls = Calls()
    feed = calls.task("feed")()
    assert way.run([loop(step(30, feed)), feed]) == [(30, 0, None), 0]
    assert calls == ["feed"]


# --- order


@every_way
def test_after_predecessors_are_not_run_again(way: Way) -> None:
    calls = Calls()
    before = calls.task("before")
    feed = calls.task("feed")().after(before(), before())
    assert way.run(loop(step(0, feed).after(before()))) == (30, 30, None)
    assert calls.count("before") == 3
    assert calls.index("feed") > 1


@every_way
@every_body
def test_a_predecessor_of_a_state_runs_before_it_and_once(way: Way, body: Body) -> None:
    calls: list[str] = []

    @body
    def before() -> None:
        calls.append("before")

    @body
    def feed() -> None:
        calls.append("feed")

    @inline
    def start() -> Any:
        calls.append("start")
        return cs.Jump("on")

    @body
    def state(n: int = 0, fed: Any = None) -> Any:
        calls.append("state")
        return cs.Jump("on", n + 1) if n < 20 else "done"

    first, second = start(), state(fed=feed()).after(before())
    cs.bind(first, cs.select_jump({"on": second}))
    cs.bind(second, cs.select_jump({"on": second}))
    assert way.run(first) == "done"
    assert sorted(calls[:4]) == ["before", "feed", "start", "state"]
    assert calls[0] == "start"
    assert calls[3:] == ["state"] + ["feed", "state"] * 20


@every_way
def test_a_predecessor_that_the_entry_itself_runs_is_waited_for(way: Way) -> None:
    calls: list[str] = []

    @cs.task(mode="blocking")
    def slow() -> None:
        calls.append("slow")

    @inline
    def quick() -> None:
        calls.append("quick")

    first = slow()
    assert way.run(loop(step(0, first, quick().after(first)))) == (30, None, None)
    assert calls == ["slow", "quick"] * 31


@every_way
def test_a_predecessor_in_the_graph_around_that_was_skipped_skips_every_entry(way: Way) -> None:
    calls = Calls()
    gone = calls.task("gone")().run_if(False)
    feed = calls.task("feed")().after(gone)
    target = loop(step(0, inline(lambda fed: fed)(feed.run_if(True, otherwise="nothing"))))
    assert way.run(target) == (30, "nothing", None)
    assert calls == []
    if way.watched:
        feeds = [(iteration, reason) for name, iteration, reason in way.skipped() if name.startswith("feed")]
        assert feeds == [(n, "UpstreamSkipped_Sequence") for n in range(31)]


@every_way
def test_a_predecessor_that_fails_in_an_entry_ends_the_run(way: Way) -> None:
    @cs.task
    async def fail() -> None:
        raise LookupError("before")

    @inline
    def start() -> Any:
        return cs.Jump("on")

    first = start()
    cs.bind(first, cs.select_jump({"on": step(0).after(fail())}))
    with pytest.raises(LookupError, match="before"):
        way.run(first)


# --- once a run


@every_way
def test_params_and_variables_are_read_once_a_run(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_TEST_ENTRIES", "before")
    params = {"p": "1"}

    @inline
    def note(n: int, p: int, variable: str) -> Any:
        assert (p, variable) == (1, "before")
        os.environ["CASCADE_TEST_ENTRIES"] = "after"
        params["p"] = "2"
        return cs.Jump("again", {"n": n + 1}) if n < 30 else "done"

    target = loop(note(0, cs.Param("p", 0), cs.Env("CASCADE_TEST_ENTRIES")))
    assert way.run(target, params) == "done"


@every_way
@pytest.mark.parametrize("before", ["set", None])
@pytest.mark.parametrize("outside", [False, True])
def test_graphs_in_a_graph_read_no_variable_again(
    way: Way, monkeypatch: pytest.MonkeyPatch, before: str | None, outside: bool
) -> None:
    name = "CASCADE_TEST_ENTRIES"
    if before is None:
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, before)
    seen = []

    @inline
    def read(variable: str) -> str:
        return variable

    @inline
    def note(n: int, inner: Any, outer: Any = None) -> Any:
        seen.append(inner)
        os.environ[name] = f"changed {n}"
        return cs.Jump("again", {"n": n + 1}) if n < 30 else cs.TailCall(target_blueprint_id="end")

    variable = cs.Env(name, "default")
    target = note(0, cs.subflow(read(variable)), variable if outside else None)
    try:
        assert way.run(loop(target), blueprints={"end": read(cs.Env(name, "default"))}) == (before or "default")
    finally:
        monkeypatch.setenv(name, "")  # so that it is put back
    assert seen == [before or "default"] * 31


@every_way
def test_a_value_is_converted_once(way: Way) -> None:
    conversions = []

    def convert(text: Any) -> int:
        conversions.append(text)
        return int(text)

    assert way.run(loop(step(0, cs.Param("p", type=convert))), {"p": "5"}) == (30, 5, None)
    assert conversions == ["5"]


@every_way
@every_body
def test_pure_nodes_of_constants_and_inputs_run_once(way: Way, body: Body) -> None:
    calls: list[Any] = []

    def base(x: int) -> int:
        calls.append(("base", x))
        return x * 2

    def total(x: int, numbers: list[int]) -> int:
        calls.append(("total", x))
        return x + sum(numbers)

    def fed(x: int, y: int) -> int:
        calls.append("fed")
        return x + y

    pure = {func.__name__: cs.task(pure=True, mode=body(func).mode)(body(func).func) for func in (base, total, fed)}
    constant = pure["total"](pure["base"](cs.Param("p", 3)), [pure["base"](1), 4])
    changing = pure["fed"](constant, body(lambda: 5)())
    assert way.run(loop(step(0, constant, changing))) == (30, 12, 17)
    assert calls.count("fed") == 31
    assert sorted(map(str, calls)) == sorted(map(str, [("base", 3), ("base", 1), ("total", 6), *["fed"] * 31]))


@every_way
def test_a_pure_node_runs_when_it_is_first_needed(way: Way) -> None:
    calls = Calls()
    pure = calls.task("pure", pure=True)

    @inline
    def start(n: int) -> Any:
        calls.append("start")
        return cs.Jump("again", n + 1) if n < 20 else cs.Jump("state")

    @inline
    def state(value: Any, n: int = 0) -> Any:
        calls.append("state")
        return cs.Jump("state", {"n": n + 1}) if n < 20 else value

    first, second = start(0), state(pure(1))
    routes = cs.select_jump({"again": first, "state": second})
    cs.bind(first, routes)
    cs.bind(second, routes)
    assert way.run(first) == 0
    assert calls == ["start"] * 21 + ["pure"] + ["state"] * 21


@every_way
def test_a_pure_node_that_is_never_needed_does_not_run(way: Way) -> None:
    calls = Calls()

    @inline
    def start() -> Any:
        return cs.Jump("state", "sent")

    first = start()
    cs.bind(first, cs.select_jump({"state": inline(lambda x: x)(calls.task("pure", pure=True)(1))}))
    assert way.run(first) == "sent"
    assert calls == []


@every_way
def test_a_pure_exit_runs_once_however_often_it_is_reached(way: Way) -> None:
    calls = Calls()
    end = calls.task("pure", pure=True)(1)

    @inline
    def inner() -> Any:
        return cs.Jump("out")

    leaving = cs.bind(inner(), cs.select_jump({"out": end}))
    assert way.run([loop(step(0, leaving)), end]) == [(30, 0, None), 0]
    assert calls == ["pure"]


@every_way
def test_a_pure_exit_with_data_is_a_call_of_its_own(way: Way) -> None:
    pure = cs.task(pure=True, mode="inline")(lambda x: x)
    end = pure(1)

    @inline
    def inner() -> Any:
        return cs.Jump("out", 2)

    assert way.run([cs.bind(inner(), cs.select_jump({"out": end})), end]) == [2, 1]


@every_way
def test_a_container_of_pure_nodes_is_new_in_each_entry(way: Way) -> None:
    pure = cs.task(pure=True, mode="inline")(lambda x: x)

    @inline
    def note(n: int, values: list[Any]) -> Any:
        values.append(n)
        return cs.Jump("again", {"n": n + 1}) if n < 30 else values

    assert way.run(loop(note(0, [pure(1), cs.Param("p", 2)]))) == [1, 2, 30]


@every_way
def test_a_pure_node_that_fails_in_an_entry(way: Way) -> None:
    @cs.task(pure=True)
    async def fail(x: int) -> int:
        raise LookupError("pure")

    @inline
    def start(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 20 else cs.Jump("state")

    first = start(0)
    cs.bind(first, cs.select_jump({"again": first, "state": step(0, fail(1))}))
    with pytest.raises(LookupError, match="pure"):
        way.run(first)


@every_way
def test_a_pure_node_that_is_skipped_is_skipped_for_all_entries(way: Way) -> None:
    calls = Calls()
    gated = calls.task("pure", pure=True)(1).run_if(cs.Param("on", False), otherwise="off")
    assert way.run(loop(step(0, gated))) == (30, "off", None)
    assert calls == []
    assert way.run(loop(step(0, gated)), {"on": True}) == (30, 0, None)
    assert calls == ["pure"]


@every_way
def test_runs_do_not_share_what_runs_once_a_run(way: Way) -> None:
    calls = Calls()
    target = loop(step(0, calls.task("pure", pure=True)(cs.Param("p", 1))))
    assert [way.run(target)[1], way.run(target)[1]] == [0, 1]


# --- mapped results as inputs


@every_way
def test_a_map_among_the_inputs_runs_again(way: Way) -> None:
    calls = Calls()

    @inline
    def item(x: int) -> int:
        calls.append("item")
        return x

    mapped = item.map(x=[1, 2, 3])
    assert way.run(loop(step(0, mapped))) == (30, [1, 2, 3], None)
    assert calls.count("item") == 93


@every_way
def test_an_iterator_is_spent_by_the_first_entry(way: Way) -> None:
    mapped = inline(lambda x: x).map(x=iter([1, 2]))
    with pytest.raises(ValueError, match="spent"):
        way.run(loop(step(0, mapped)))
