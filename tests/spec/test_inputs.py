"""Inputs: parameters and variables of the environment, which a graph is given when it runs."""

import asyncio
import enum
import pathlib
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.testing import SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run


class Color(enum.Enum):
    RED = "red"


class NoTruth:
    """Compares to something that is neither true nor false, and does not pickle."""

    def __eq__(self, other: object) -> Any:
        return np.arange(3)

    def __reduce__(self) -> Any:
        raise RuntimeError("no")


class Unequal:
    """Has the type that it is compared with, and refuses to be converted."""

    def __init__(self, value: Any = None) -> None:
        if value is not None:
            raise RuntimeError("no")


@cs.task
def same(x: Any) -> Any:
    return x


@cs.task
def fill_up(rows: Any) -> int:
    """Put something into the innermost container; return how much is in it."""
    while not isinstance(rows, (deque, set)) and len(rows):
        rows = next(iter(rows.values())) if isinstance(rows, dict) else rows[0]
    rows.append(())
    return len(rows)


@cs.task
def pair(a: Any, b: Any) -> Any:
    return a, b


class TestParam:
    @every_tier
    def test_is_given_when_the_graph_runs(self, tier: Tier) -> None:
        graph = pair(cs.Param("a"), b=[cs.Param("b", type=int)])
        assert run(graph, {"a": "x", "b": 2}, tier=tier) == ("x", [2])
        assert run(graph, {"a": "y", "b": 3}, tier=tier) == ("y", [3])

    @every_tier
    def test_can_be_the_target(self, tier: Tier) -> None:
        param = cs.Param("n", type=int)
        assert run(param, {"n": 3}, tier=tier) == 3
        assert run([param, {"k": param}], {"n": 3}, tier=tier) == [3, {"k": 3}]

    def test_its_default_works_everywhere(self) -> None:
        graph = same(cs.Param("n", default=7))

        async def everywhere() -> list[Any]:
            async with Engine() as engine:
                flow = cs.compile(graph, engine=engine)
                ran = [await engine.run(graph), await engine.run(graph, {}), await engine.start(graph), await flow()]
                engine.register_blueprint("it", graph)
                call = cs.task(mode="inline")(lambda: cs.TailCall(target_blueprint_id="it"))
                ran += [await engine.run(flow.blueprint), await engine.run(call())]
            return [*ran, await cs.arun(graph), await cs.arun(cs.subflow(graph))]

        assert in_loop(everywhere) == [7] * 8
        assert cs.run(graph, log_level="SILENT") == 7

    @every_tier
    def test_a_default_may_be_none_and_is_not_converted(self, tier: Tier) -> None:
        assert run(same(cs.Param("n", default=None)), tier=tier) is None
        assert run(same(cs.Param("n", default=None)), {"n": 3}, tier=tier) == 3
        assert run(same(cs.Param("n", default=3, type=str)), tier=tier) == 3
        assert run(same(cs.Param("n", default="12", type=int)), tier=tier) == "12"
        assert run(same(cs.Param("n", default="12", type=int)), {"n": "13"}, tier=tier) == 13

    @pytest.mark.parametrize(
        ("param", "kind"),
        [
            (cs.Param("p"), str),
            (cs.Param("p", default=None), str),
            (cs.Param("p", default=1), int),
            (cs.Param("p", default=1.5), float),
            (cs.Param("p", default=True), bool),
            (cs.Param("p", default=[1]), list),
            (cs.Param("p", default=1, type=float), float),
            (cs.Param("p", type=int), int),
        ],
    )
    def test_its_type_is_the_defaults_else_str(self, param: cs.Param, kind: type) -> None:
        assert param.type is kind

    def test_has_a_description(self) -> None:
        assert cs.Param("p", description="How many.").description == "How many."
        assert cs.Param("p").description == ""

    @every_tier
    @pytest.mark.parametrize(
        ("kind", "given", "value"),
        [
            (int, "12", 12),
            (float, "1.5", 1.5),
            (float, 1, 1.0),
            (str, "3", "3"),
            (pathlib.Path, "a/b", pathlib.Path("a/b")),
            (Color, "red", Color.RED),
            (lambda text: text.split(","), "a,b", ["a", "b"]),
        ],
        ids=["int", "float", "float of int", "text", "path", "enum", "function"],
    )
    def test_a_given_value_is_converted(self, tier: Tier, kind: Any, given: Any, value: Any) -> None:
        result = run(same(cs.Param("p", type=kind)), {"p": given}, tier=tier)
        assert result == value
        assert type(result) is type(value)

    @every_tier
    def test_a_value_that_has_the_type_passes_as_it_is(self, tier: Tier) -> None:
        class Rows(list[int]):
            pass

        rows, thing = Rows([1]), Unequal()
        assert run(same(cs.Param("p", type=list)), {"p": rows}, tier=tier) is rows
        assert run(same(cs.Param("p", type=Unequal)), {"p": thing}, tier=tier) is thing
        assert run(same(cs.Param("p", type=object)), {"p": True}, tier=tier) is True

    @every_tier
    @pytest.mark.parametrize(
        ("words", "value"),
        [(["true", "1", "yes", "on", "TRUE", " Yes ", 1, True], True), (["false", "0", "no", "off", "Off", 0], False)],
        ids=["true", "false"],
    )
    def test_bool_reads_words(self, tier: Tier, words: list[Any], value: bool) -> None:
        graph = same(cs.Param("p", type=bool))
        assert [run(graph, {"p": word}, tier=tier) for word in words] == [value] * len(words)

    @pytest.mark.parametrize("word", ["maybe", "", "2", 2, None, "t"])
    def test_bool_reads_nothing_else(self, word: Any) -> None:
        with pytest.raises(cs.ParameterError, match=r"parameter 'p' .*cannot take .* as bool .*true, false"):
            run(same(cs.Param("p", type=bool)), {"p": word})

    @every_tier
    @pytest.mark.parametrize(
        ("kind", "value"), [(int, "x"), (int, None), (float, "1,5"), (Color, "blue"), (Unequal, "x")]
    )
    def test_a_value_that_does_not_convert_is_an_error_that_names_both(self, tier: Tier, kind: Any, value: Any) -> None:
        with pytest.raises(cs.ParameterError) as caught:
            run(same(cs.Param("amount", type=kind)), {"amount": value}, tier=tier)
        assert f"parameter 'amount' (declared at {__file__}:" in str(caught.value)
        assert f"cannot take {value!r} as {kind.__name__}" in str(caught.value)

    @every_tier
    def test_a_required_one_that_is_missing_is_an_error_that_lists_what_was_given(self, tier: Tier) -> None:
        graph = pair(cs.Param("needed"), cs.Param("other", default=1))
        with pytest.raises(cs.ParameterError, match=r"'needed' .* is required and was not given \(given: 'other'\)"):
            run(graph, {"other": 2}, tier=tier)
        with pytest.raises(cs.ParameterError, match=r"\(given: none\)"):
            run(graph, tier=tier)

    @every_tier
    def test_an_unknown_name_is_an_error_with_a_suggestion(self, tier: Tier) -> None:
        graph = pair(cs.Param("width", default=1), cs.Param("height", default=1))
        with pytest.raises(cs.ParameterError, match=r"no parameter 'widht'; did you mean 'width'.*height, width"):
            run(graph, {"widht": 2}, tier=tier)
        with pytest.raises(cs.ParameterError, match=r"no parameter 'zzz' .*height, width"):
            run(graph, {"zzz": 2}, tier=tier)
        with pytest.raises(cs.ParameterError, match=r"the graph has: no parameters"):
            run(same(1), {"zzz": 2}, tier=tier)

    @pytest.mark.parametrize(
        "other",
        [
            lambda: cs.Param("n", default=2),
            lambda: cs.Param("n", default=1.0),
            lambda: cs.Param("n", default=True, type=int),
            lambda: cs.Param("n", type=int),
            lambda: cs.Param("n", default=1, type=str),
            lambda: cs.Param("n", default=1, secret=True),
        ],
        ids=["default", "default of another type", "bool for int", "no default", "type", "secret"],
    )
    def test_two_declarations_of_one_name_must_agree(self, other: Callable[[], cs.Param]) -> None:
        graph = pair(cs.Param("n", default=1), other())
        with pytest.raises(cs.ParameterError, match=r"parameter 'n' is declared twice, differently: at .* and at "):
            cs.compile(graph)

    @every_tier
    def test_two_declarations_that_agree_are_one_parameter(self, tier: Tier) -> None:
        graph = pair(cs.Param("n", default=1, description="a"), cs.Param("n", default=1))
        assert run(graph, tier=tier) == (1, 1)
        assert run(graph, {"n": "3"}, tier=tier) == (3, 3)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: cs.Param("x", default=np.arange(3)),
            lambda: cs.Param("x", default=float("nan")),
            lambda: cs.Param("x", default=[float("nan"), {"k": np.array([1.0, float("nan")])}]),
            lambda: cs.Param("x", default=None),
            lambda: cs.Param("x", default=[1], type=list[int] | None),
        ],
        ids=["array", "nan", "inside", "nothing", "hint"],
    )
    def test_defaults_that_cannot_be_compared_agree_by_content(self, make: Callable[[], cs.Param]) -> None:
        assert repr(run(pair(make(), make()))) == repr((make().default, make().default))

    @pytest.mark.parametrize("other", [np.arange(4), np.arange(3.0), NoTruth()], ids=["more", "floats", "other"])
    def test_arrays_that_differ_are_told(self, other: Any) -> None:
        with pytest.raises(cs.ParameterError, match=r"'x' is declared twice, differently"):
            run(pair(cs.Param("x", default=np.arange(3)), cs.Param("x", default=other)))
        with pytest.raises(cs.ParameterError, match=r"'x' is declared twice, differently"):
            run(pair(cs.Param("x", default=NoTruth()), cs.Param("x", default=NoTruth())))

    @every_tier
    @pytest.mark.parametrize(
        "default",
        [[], [[]], {"k": []}, ([],), deque()],
        ids=["list", "list inside", "dict", "tuple", "deque"],
    )
    def test_each_run_has_a_default_of_its_own(self, tier: Tier, default: Any) -> None:
        before = repr(default)
        graph = fill_up(cs.Param("p", default=default))
        inner = cs.subflow(graph)
        assert run([graph, inner, cs.subflow(graph)], tier=tier) == [1, 1, 1]
        assert run([graph, graph], tier=tier) == [1, 1]
        assert repr(default) == before

    def test_a_default_that_is_no_container_is_that_very_object(self) -> None:
        thing, own = Unequal(), []  # type: ignore[var-annotated]
        own.append(own)
        assert run(same(cs.Param("p", default=thing))) is thing
        assert run(same(cs.Param("p", default=[thing])))[0] is thing
        assert run(same(cs.Param("p", default=own))) is own
        assert run(same(cs.Env("CASCADE_NOT_SET", default=[]))) == []

    @every_tier
    def test_belongs_to_the_graph_that_uses_it(self, tier: Tier) -> None:
        cs.Param("n", default="unused")
        one, other = same(cs.Param("n", default=1)), same(cs.Param("n", default="x"))
        assert run(one, {"n": "2"}, tier=tier) == 2
        assert run(other, {"n": "2"}, tier=tier) == "2"
        with pytest.raises(cs.ParameterError, match=r"no parameter 'n'"):
            run(same(1), {"n": 1}, tier=tier)

    @every_tier
    def test_may_be_used_on_a_route_or_as_an_otherwise_alone(self, tier: Tier) -> None:
        n = cs.Param("n", default=1)
        assert run(cs.Router("a", {"a": n, "b": same(2)}), {"n": 5}, tier=tier) == 5
        assert run(same(0).run_if(False, otherwise=n), {"n": 5}, tier=tier) == 5
        assert run(same(0).run_if(n), {"n": 5}, tier=tier) == 0

    @every_tier
    def test_one_run_does_not_see_the_parameters_of_another(self, tier: Tier) -> None:
        begun = asyncio.Event()

        @cs.task
        async def slow(n: int) -> int:
            if n == 1:
                await begun.wait()
            begun.set()
            return n

        target = pair(slow(n := cs.Param("n", type=int)), n)

        async def main() -> list[Any]:
            async with Engine(tier=tier) as engine:
                return await asyncio.gather(*(engine.run(target, {"n": n}) for n in (1, 2)))

        assert in_loop(main) == [(1, 1), (2, 2)]

    def test_what_is_wrong_with_one_is_found_before_anything_is_published(self) -> None:
        spy = SpySubscriber(bus := MessageBus())
        graph = same(cs.Param("n", type=int))
        for params in ({}, {"n": "x"}, {"m": 1}):
            with pytest.raises(cs.ParameterError):
                run(graph, params, bus=bus)
        assert spy.events == []

    @pytest.mark.parametrize("name", ["", None, 3])
    def test_has_a_name(self, name: Any) -> None:
        with pytest.raises(TypeError, match=r"has a name that is not empty"):
            cs.Param(name)
        with pytest.raises(TypeError, match=r"has a name that is not empty"):
            cs.Env(name)

    def test_its_type_must_convert(self) -> None:
        with pytest.raises(TypeError, match=r"cs.Param\('n'\): type is a type or a function that converts, not 3"):
            cs.Param("n", type=3)


class TestEnv:
    @every_tier
    def test_is_read_when_a_run_starts(self, tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
        graph = pair(cs.Env("CASCADE_TEST_WORD"), b=[cs.Env("CASCADE_TEST_OTHER", default=None)])
        monkeypatch.setenv("CASCADE_TEST_WORD", "one")
        assert run(graph, tier=tier) == ("one", [None])
        monkeypatch.setenv("CASCADE_TEST_WORD", "two")
        monkeypatch.setenv("CASCADE_TEST_OTHER", "3")
        assert run(graph, tier=tier) == ("two", ["3"])

    @every_tier
    def test_a_required_one_that_is_missing_is_an_error_that_names_it(
        self, tier: Tier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CASCADE_TEST_WORD", raising=False)
        with pytest.raises(cs.ParameterError, match=r"the environment has no variable 'CASCADE_TEST_WORD'"):
            run(same(cs.Env("CASCADE_TEST_WORD")), tier=tier)

    def test_has_a_description(self) -> None:
        given = cs.Env("CASCADE_TEST_WORD", None, "Which word.")
        assert (given.default, given.description) == (None, "Which word.")
        assert cs.Env("CASCADE_TEST_WORD", description="Which word.").description == "Which word."
        assert cs.Env("CASCADE_TEST_WORD").description == ""

    @every_tier
    def test_is_no_parameter(self, tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASCADE_TEST_WORD", "one")
        with pytest.raises(cs.ParameterError, match=r"no parameter 'CASCADE_TEST_WORD'"):
            run(same(cs.Env("CASCADE_TEST_WORD")), {"CASCADE_TEST_WORD": "two"}, tier=tier)


@pytest.mark.parametrize("name", ["token", "authToken", "API_KEY", "apiKey", "db-password", "refreshToken"])
def test_a_parameter_that_sounds_like_a_secret_is_one(name: str) -> None:
    assert cs.Param(name).secret


@pytest.mark.parametrize("name", ["monkey", "tokens", "Passworded", "key", "secretary"])
def test_others_are_not(name: str) -> None:
    assert not cs.Param(name).secret
