"""Secret parameters and variables: what is told of a run, a graph or an error has never their values."""

import contextlib
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any

import pydantic
import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.testing import SpySubscriber
from tests.flows import give, later
from tests.workflows import Tier, every_tier, in_loop, run

HIDDEN = "hunter2"


def chain(error: BaseException | None) -> Iterator[str]:
    """Give the words of an error, and of all that it leads to."""
    while error is not None:
        yield from (str(error), repr(error), *getattr(error, "__notes__", ()))
        error = error.__cause__ or error.__context__


@pytest.fixture(params=["param", "param by name", "env", "env by name"])
def secret(request: pytest.FixtureRequest) -> cs.Param | cs.Env:
    made: dict[str, Any] = {
        "param": lambda: cs.Param("pin", default=HIDDEN, secret=True),
        "param by name": lambda: cs.Param("db_password", default=HIDDEN),
        "env": lambda: cs.Env("CASCADE_TEST_PIN", HIDDEN, secret=True),
        "env by name": lambda: cs.Env("CASCADE_TEST_TOKEN", HIDDEN),
    }
    found: cs.Param | cs.Env = made[request.param]()
    return found


@pytest.mark.parametrize(
    ("given", "is_secret"),
    [
        (lambda: cs.Param("token"), True),
        (lambda: cs.Param("API-KEY"), True),
        (lambda: cs.Param("private_key"), True),
        (lambda: cs.Param("sort_key"), False),
        (lambda: cs.Param("max_tokens"), False),
        (lambda: cs.Param("token", secret=False), False),
        (lambda: cs.Param("pin", type=pydantic.SecretStr), True),
        (lambda: cs.Env("X_KEY"), True),
        (lambda: cs.Env("X_SECRET"), True),
        (lambda: cs.Env("X_PASSWORD"), True),
        (lambda: cs.Env("KEYBOARD"), False),
        (lambda: cs.Env("X_TOKEN", secret=False), False),
    ],
)
def test_what_is_secret(given: Any, is_secret: bool) -> None:
    assert given().secret is is_secret


def test_what_is_told_of_a_graph_has_no_secret(secret: Any) -> None:
    for target in (give(secret), cs.subflow(give(secret)), secret, [secret, give.map(a=[1]).after(give(secret))]):
        told = [cs.dry_run(target), cs.dry_run(target).to_json(), cs.to_lisp(target), cs.to_json(target)]
        told += [cs.explain(target), repr(target), *map(str, cs.check(target))]
        told += [cs.visualize(target, form) for form in ("dot", "mermaid", "svg", "html")]
        assert [text for text in map(str, told) if HIDDEN in text] == []
        assert run(target) is not None


def test_a_secret_that_is_written_has_to_be_given_again() -> None:
    graph = give(cs.Param("pin", default=HIDDEN, secret=True), cs.Env("CASCADE_TEST_TOKEN", HIDDEN, "the token"))
    back = cs.from_json(cs.to_json(graph), allow=["tests"])
    with pytest.raises(cs.ParameterError, match=r"'pin' .* is required"):
        run(back)
    assert cs.to_json(back) == cs.to_json(graph)
    assert json.loads(cs.to_json(graph))["graphs"][0]["inputs"][1]["description"] == "the token"
    open_again = cs.from_json(cs.to_json(give(cs.Param("token", default="x", secret=False))), allow=["tests"])
    assert run(open_again) == "x"
    assert run(cs.from_json(cs.to_json(give(cs.Param("token", default=None))), allow=["tests"])) is None


@every_tier
def test_what_is_told_of_a_run_has_no_secret(tier: Tier) -> None:
    spy = SpySubscriber(bus := MessageBus())
    graph = give(cs.Param("pin", secret=True), cs.Param("n", type=int))
    assert run([graph, cs.subflow(graph, {"pin": cs.Param("pin", secret=True), "n": 2})], {"pin": HIDDEN, "n": "3"},
               tier=tier, bus=bus) == [(HIDDEN, 3), (HIDDEN, 2)]  # fmt: skip
    assert spy.events[0].to_dict()["params"] == {"pin": "***", "n": 3}
    assert HIDDEN not in str([event.to_dict() for event in spy.events])


@every_tier
def test_results_and_errors_in_events_have_no_secret(tier: Tier) -> None:
    @cs.task(retry=2)
    def refuse(pin: str) -> None:
        raise ValueError(f"no such pin: {pin}")

    pin = cs.Param("pin", secret=True)
    env = cs.Env("CASCADE_TEST_TOKEN", HIDDEN)
    for target in ([give(pin), later(pin)], give([pin]), cs.subflow(give(env)), refuse(pin), cs.subflow(refuse(env))):
        spy = SpySubscriber(bus := MessageBus(previews=7))
        with contextlib.suppress(ValueError):
            run(target, {"pin": HIDDEN} if "pin" in cs.to_lisp(target) else {}, tier=tier, bus=bus)
        told = str([event.to_dict() for event in spy.events])
        assert "***" in told
        assert HIDDEN[:4] not in told
    with pytest.raises(cs.RouterError, match=r"gave '\*\*\*', which has no route"):
        run(cs.Router(pin, {"a": 1}), {"pin": HIDDEN}, tier=tier)


@pytest.mark.parametrize("form", ["human", "json"])
def test_the_log_has_no_secret(form: Any) -> None:
    out = io.StringIO()
    with redirect_stderr(out):
        assert cs.run(give(cs.Param("token")), {"token": HIDDEN}, log_level="DEBUG", log_format=form) == HIDDEN
    assert HIDDEN not in out.getvalue()
    assert "***" in out.getvalue()


def test_a_secret_that_a_tail_call_reads_is_not_told() -> None:
    async def main() -> Any:
        spy = SpySubscriber(bus := MessageBus())
        async with Engine(bus=bus) as engine:
            engine.register_blueprint("it", give(cs.Param("pin", secret=True)))
            call = cs.task(mode="inline")(lambda: cs.TailCall(target_blueprint_id="it"))
            return await engine.run(call(), {"pin": HIDDEN}), spy.events[0].to_dict()["params"]

    assert in_loop(main) == (HIDDEN, {"pin": "***"})


@pytest.mark.parametrize("kind", [int, list[int], pydantic.PositiveInt, lambda text: {}[text]])
def test_errors_have_no_secret(kind: Any) -> None:
    graph = give(cs.Param("pin", type=kind, secret=True))
    for target, params in ((graph, {"pin": HIDDEN}), (cs.subflow(graph, {"pin": give(HIDDEN)}), {})):
        with pytest.raises(cs.ParameterError, match=r"'pin' .* which is secret") as caught:
            run(target, params)
        assert [text for text in chain(caught.value) if HIDDEN in text] == []
    with pytest.raises(cs.ParameterError, match=r"declared twice") as caught:
        run(give(cs.Param("pin", default=HIDDEN, secret=True), cs.Param("pin", default="x", secret=True)))
    assert HIDDEN not in str(caught.value)


def test_a_value_for_a_secret_of_a_sub_flow_is_not_shown() -> None:
    target = cs.subflow(give(cs.Param("pin", secret=True), cs.Param("n")), {"pin": HIDDEN, "n": 3})
    assert HIDDEN not in f"{cs.dry_run(target)}{cs.to_lisp(target)}{cs.dry_run(target).to_json()}"
    assert "n=3" in str(cs.dry_run(target))
    with pytest.raises(TypeError, match=r"cs.to_json: the parameter 'pin' of 'subflow' .* is secret") as caught:
        cs.to_json(target)
    assert HIDDEN not in str(caught.value)


def test_what_a_cache_tells_has_no_secret(tmp_path: Any) -> None:
    target = give(cs.Param("pin", secret=True)).with_cache(cs.cached(str(tmp_path)))
    told = str(cs.explain_cache(target, {"pin": HIDDEN}))
    run(target, {"pin": HIDDEN})
    told += str(cs.explain_cache(target, {"pin": "other"}))
    assert "miss" in told
    assert HIDDEN not in told
