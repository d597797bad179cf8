"""Options and arguments that there are not: the error says what was meant, as it is written here."""

import asyncio
import inspect
import pickle
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.spec.run_options import RunOptions, ScriptOptions, SilentOptions
from tests.workflows import Tier, every_tier, run

words: Any = cs  # the mistakes are such to type checkers as well


@cs.task
def double(x: int, times: int = 2) -> int:
    return times * x


@cs.task(retry=2, timeout=5.0, constraints={"gpu": 1}, tags=("a",))
def fetch(url: str, page: int = 0) -> str:
    return f"{url}/{page}"


class Shop:
    @cs.task
    def price(self, item: str) -> int:
        return len(item)


untyped: Any = double

WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: words.Param("n", help="how many"), "cs.Param has no option 'help'; write description='how many' (it has:"),
    (
        lambda: words.Param("n", required=True),
        "write default=... for an optional one; without",
    ),
    (lambda: words.Param("n", defualt=3), "did you mean default=3?"),
    (lambda: words.Env("N", type=int), "cs.Env has no option 'type'; write a task that converts it, or cs.Param("),
    (
        lambda: words.Router(fetch("a"), {"a": double(1)}, fallback=None),
        "cs.Router has no option 'fallback'; write default",
    ),
    (lambda: words.bind(double(1), cs.select_jump({"a": None}), max_iter=3), "write max_iterations=3"),
    (lambda: words.Engine().set_limit("global", rps=3), "engine.set_limit has no option 'rps'; write rate=3"),
    (lambda: words.Engine().set_limit("global", concurency=3), "did you mean concurrency=3?"),
    (
        lambda: words.task(retries=3),
        "cs.task has no option 'retries'; write retry=4 (it counts all attempts",
    ),
    (lambda: words.task(max_attempts=3), "write retry=3"),
    (lambda: words.task(retry_delay_seconds=5), 'write retry={"max_attempts": 3, "delay": 5}'),
    (lambda: words.task(timeout_seconds=9), "write timeout=9"),
    (lambda: words.task(cache_key_fn=len), "write cache=cs.cached(key=...)"),
    (lambda: words.task(nmae="x"), "cs.task has no option 'nmae'; did you mean name='x'?"),
    (lambda: words.task(zzz=1), "cs.task has no option 'zzz' (it has: name, pure, mode, retry, timeout, heartbeat,"),
    (lambda: words.task(retry={"retries": 3}), "retry has no option 'retries'; write max_attempts=4"),
    (lambda: untyped.with_options(retries=1), "task.with_options has no option 'retries'; write retry=2"),
    (
        lambda: words.Engine(max_workers=4),
        "Engine has no option 'max_workers'; write executor=LocalExecutor(blocking",
    ),
    (lambda: words.Engine(concurrency=4), 'write engine.set_limit("global", concurrency=4)'),
    (lambda: words.Engine(resources={"gpu": 1}), "write system_resources={'gpu': 1}"),
    (lambda: words.Engine(teir="auto"), "Engine has no option 'teir'; did you mean tier='auto'?"),
    (lambda: words.visualize(double(1), filename="a.svg"), "Path('a.svg').write_text(cs.visualize(target, \"svg\"))"),
    (lambda: words.visualize(double(1), fmt="svg"), "write format='svg'"),
    (
        lambda: words.run(double(1), n=3),
        "cs.run has no option 'n'; a parameter of the graph is given in params",
    ),
    (lambda: words.run(double(1), parameters={"n": 3}), "write params={'n': 3}"),
    (lambda: words.run(double(1), verbose=True), 'write log_level="DEBUG"'),
    (lambda: words.run(double(1), max_workers=3), "async with cs.Engine(...) as engine"),
    (lambda: words.run(double(1), time_out=3), "did you mean timeout=3?"),
    (
        lambda: asyncio.run(words.arun(double(1), n=3)),
        "cs.arun has no option 'n'; a parameter of the graph is",
    ),
    (lambda: asyncio.run(words.Engine().run(double(1), n=3)), "engine.run has no option 'n'; a parameter"),
    (lambda: words.Engine().start(double(1), n=3), "engine.start has no option 'n'; a parameter of the graph is given"),
    (lambda: words.cached(expires=3), "cs.cached has no option 'expires'; write ttl=3"),
    (lambda: untyped(1).with_retry(retries=3), "with_retry has no option 'retries'; write max_attempts=4"),
    (lambda: untyped(1).with_retry(wait=3), "write delay=3"),
    (lambda: untyped(1).with_timeout(timeout=3), "with_timeout has no option 'timeout'; write seconds=3"),
    (lambda: untyped.map(x=[1], max_workers=3), "no parameter 'max_workers'; write concurrency=3; it has: x, times"),
    (lambda: untyped.map(x=[1], return_exceptions=True), 'write on_error="collect"'),
    (lambda: untyped.map(x=[1], tmies=[2]), "has no parameter 'tmies'; did you mean 'times'?"),
]


@pytest.mark.parametrize(("misuse", "said"), WRONG, ids=[said for _, said in WRONG])
def test_an_option_that_there_is_not(misuse: Callable[[], Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        misuse()
    assert said in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("misuse", "said"),
    [
        (lambda: words.pipeline([double]), "write cs.pipeline(value, [first, second]): what the first step is given"),
        (lambda: words.sequence(double(1), double(2)), "write cs.sequence([first(), second()]), with the steps in one"),
        (lambda: words.select_jump(again=1), 'write cs.select_jump({"again": step, "exit": None})'),
        (lambda: words.select_jump(), "missing 1 required positional argument: 'routes'; write cs.select_jump({"),
        (lambda: words.bind(double(1)), 'write cs.bind(step, cs.select_jump({"again": step, "exit": None}))'),
        (lambda: words.Router(1), 'write cs.Router(selector, {"a": first(), "b": second()})'),
        (lambda: untyped(1).with_constraints({"gpu": 1}), "write .with_constraints(gpu=1)"),
        (lambda: untyped(1).with_constraints({"gpu": 1}, cpu=1), "write .with_constraints(gpu=1)"),
        (lambda: words.task(name=3), "the name of a task is a text, so cs.task takes name='3', not name=3"),
        (lambda: untyped.with_options(name=3), "the name of a task is a text"),
    ],
)
def test_a_door_that_is_called_in_another_form(misuse: Callable[[], Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        misuse()
    assert said in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("htp", "; did you mean cs.http?"),
        ("Taks", "; did you mean cs.Task?"),
        ("parallel", "; what does not wait for each other runs at once, cs.run([first(), second()])"),
        ("flow", "; a function that returns a lazy result is a flow, cs.run(flow())"),
        ("zzz", "'zzz'"),
        ("_htp", "'_htp'"),
    ],
)
def test_a_name_that_cascade_has_not(name: str, said: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'cascade' has no attribute '{name}'") as caught:
        getattr(cs, name)
    assert str(caught.value).endswith(said)


def test_an_error_inside_stays_what_it_is() -> None:
    with pytest.raises(TypeError, match=r"^retry takes an exception class"):
        double(1).with_retry(on=3)
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'target'$"):
        words.visualize()


def test_signatures_are_shown_as_they_are() -> None:
    assert "max_attempts" in inspect.signature(cs.LazyResult.with_retry).parameters
    assert "tier" in inspect.signature(Engine).parameters
    assert list(inspect.signature(cs.visualize).parameters) == ["target", "format", "events", "title"]
    assert inspect.iscoroutinefunction(cs.arun)
    assert inspect.iscoroutinefunction(Engine.run)


@pytest.mark.parametrize(
    ("func", "options"),
    [
        (Engine.run, RunOptions),
        (Engine.start, RunOptions),
        (cs.arun, SilentOptions),
        (cs.run, ScriptOptions),
    ],
)
def test_what_runs_shows_the_options_that_type_checkers_read(func: Any, options: Any) -> None:
    shown = [each for each in inspect.signature(func).parameters.values() if each.kind is each.KEYWORD_ONLY]
    hints, declared = get_type_hints(func), get_type_hints(options)
    assert {each.name: hints[each.name] for each in shown} == declared
    assert [each.name for each in shown] == [*declared]
    assert all(each.default is not each.empty for each in shown)


@pytest.mark.parametrize(
    ("misuse", "said"),
    [
        (
            lambda: untyped.map([1, 2, 3]),
            "takes its iterables by name: double.map(x=[1, 2, 3]); it was given [1, 2, 3]",
        ),
        (lambda: untyped.map([1], [2]), "double.map(x=[1], times=[2])"),
        (lambda: untyped.map([1], times=[2]), "double.map(x=[1])"),
        (lambda: untyped.map(range(3)), "double.map(x=range(0, 3))"),
        (lambda: untyped.map(list(range(99))), "double.map(x=...)"),
        (lambda: untyped.partial(x=1).map([2]), "double.map(times=[2])"),
        (lambda: untyped.partial(3), "partial of 'double'"),
        (lambda: untyped.partial(3), "takes what stays the same by name: double.partial(x=3)"),
        (lambda: untyped.partial(x=1).partial(3), "double.partial(times=3)"),
        (lambda: words.task(Shop().price.func).partial(self=1).map(["a"]), "price.map(item=['a'])"),
        (lambda: words.task(len).map(["a"]), "len.map("),
    ],
)
def test_map_and_partial_by_position(misuse: Callable[[], Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        misuse()
    assert said in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("misuse", "said"),
    [
        (lambda: double(y=3), "missing a required argument: 'x', and it has no parameter 'y' (did you mean 'x'?)"),
        (lambda: double(1, tiems=3), "'tiems', and it has no parameter 'tiems' (did you mean 'times'?)"),
        (lambda: double(1, zzz=3), "and it has no parameter 'zzz'; it is double(x: int, times: int = 2) -> int"),
        (lambda: fetch(pgae=1), "and it has no parameter 'pgae' (did you mean 'page'?)"),
    ],
)
def test_a_wrong_keyword_of_a_call_is_named(misuse: Callable[[], Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        misuse()
    assert said in str(caught.value), str(caught.value)


@every_tier
def test_a_dict_as_the_data_of_a_jump(tier: Tier) -> None:
    @cs.task
    def step(state: dict[str, int]) -> cs.Jump:
        state = {"n": state["n"] - 1}
        return cs.Jump("stop" if state["n"] < 0 else "again", state)

    looping = step({"n": 3})
    cs.bind(looping, cs.select_jump({"again": looping, "stop": None}))
    with pytest.raises(cs.JumpError) as caught:
        run(looping, tier=tier)
    assert "a dict gives arguments by name, and cs.Jump(key, cs.Value(data)) sends the dict itself" in str(caught.value)

    @cs.task
    def again(count: int) -> cs.TailCall:
        return cs.TailCall(kwargs={"n": 1})

    with pytest.raises(TypeError) as called:
        run(again(1), tier=tier)
    assert "cs.Value" not in str(called.value)


class TestWithOptions:
    @every_tier
    def test_is_another_task_and_the_first_stays(self, tier: Tier) -> None:
        calls: list[int] = []

        @cs.task
        def flaky(x: int) -> int:
            calls.append(x)
            if len(calls) < 3:
                raise ConnectionError
            return x

        patient = flaky.with_options(retry=3, name="patient")
        assert run(patient(7), tier=tier) == 7
        assert (patient.name, flaky.name, flaky.retry) == ("patient", "flaky", None)
        calls.clear()
        with pytest.raises(ConnectionError):
            run(flaky(7), tier=tier)
        assert calls == [7]

    def test_keeps_what_is_not_given_and_takes_away_what_is_none(self) -> None:
        other = fetch.with_options(timeout=None, tags=["b"], mode="blocking", pure=True)
        assert (other.timeout, other.tags, other.mode, other.pure, other.retry) == (
            None,
            ("b",),
            "blocking",
            True,
            fetch.retry,
        )
        assert other.constraints == fetch.constraints
        assert other.with_options(constraints=None, retry=None).constraints is None
        assert other.with_options(mode="auto").name == "fetch"
        assert other.func is fetch.func

    def test_of_a_method(self) -> None:
        shop = Shop()
        assert run(shop.price.with_options(name="cost")("cake")) == 4
        assert run(shop.price.with_options(name="cost").map(item=["a", "bc"])) == [1, 2]

    def test_crosses_to_processes_and_back(self) -> None:
        other = pickle.loads(pickle.dumps(double.with_options(name="twice", retry=2)))
        assert (other.name, other.func, other.retry.max_attempts) == ("twice", double.func, 2)
        assert pickle.loads(pickle.dumps(double)) is double

    def test_as_json(self) -> None:
        text = cs.to_json(double.with_options(name="twice")(4))
        assert cs.run(cs.from_json(text, allow=["tests"]), log_level="SILENT") == 8

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            (
                "with_retry",
                "fetch(...).with_retry(...) configures one call, fetch.with_options(retry=...) makes a task",
            ),
            ("named", "fetch.with_options(name=...)"),
            ("run_if", "it configures one call: fetch(...).run_if(...)"),
            ("submit", "calling it declares a node, fetch(...), which cs.run(...) or engine.run(...) runs"),
            ("starmap", "fetch.map(...) takes an iterable for each parameter by name"),
        ],
    )
    def test_what_a_task_has_not_says_where_it_is(self, name: str, said: str) -> None:
        with pytest.raises(AttributeError) as caught:
            getattr(fetch, name)
        assert f"<Task 'fetch', declared at {__file__}:" in str(caught.value)
        assert said in str(caught.value)
        assert not hasattr(fetch, name)


def test_what_explains_its_options_knows_where_it_was_declared() -> None:
    line = inspect.currentframe().f_lineno  # type: ignore[union-attr]
    declared = [cs.Param("n"), cs.Env("N"), cs.Router(double(1), {2: double(2)})]
    assert [each.declared for each in declared] == [f"{__file__}:{line + 1}"] * 3


def test_resources_of_workers() -> None:
    train = cs.task(resources={"GPU": 1})(abs)
    assert train.resources == {"GPU": 1}
    assert train.with_options(name="other").resources == {"GPU": 1}
    assert train.with_options(resources=None).resources is None
    assert cs.run(train(-1), log_level="SILENT") == 1  # on this machine nothing counts them
    with pytest.raises(TypeError, match=r'give names and amounts, as \{"GPU": 1\}'):
        cs.task(resources="GPU")(abs)  # type: ignore[call-overload]
    for amount in (0, -1, "1", True, float("inf")):
        with pytest.raises(ValueError, match="an amount is a number above zero"):
            cs.task(resources={"GPU": amount})(abs)  # type: ignore[dict-item]
