"""JSON: what is read back runs with the same result, and what cannot be written or read says why."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import json
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pytest
from annotated_types import Gt

import cascade as cs
from cascade.app.programs import nest_for
from tests import flows, pictures
from tests.flows import (
    Bits,
    Color,
    Ledger,
    Mode,
    Pair,
    Point,
    add,
    count,
    give,
    later,
    multiply,
    ping,
    quick,
    static,
    take,
    with_five,
)
from tests.helpers import run_python
from tests.workflows import TIERS, Tier, run

ALLOWED = ["tests", "_operator"]


def again(target: Any) -> Any:
    """Write a target and read it back."""
    return cs.from_json(cs.to_json(target), allow=ALLOWED)


def loop() -> Any:
    step = count(3)
    cs.bind(step, cs.select_jump({"again": step, "stop": None}), max_iterations=9)
    return step


def machine() -> Any:
    left, right = ping(5, "left"), ping(0, at="right")
    cs.bind(left, cs.select_jump({"other": right, "leave": give(a=9)}))
    cs.bind(right, cs.select_jump({"other": left, "leave": add(1)}))
    return left


def mapped_loop() -> Any:
    each = count.map(n=[0, 1, 2])
    cs.bind(each, cs.select_jump({"again": each, "stop": None}))
    return each


def subflows() -> Any:
    p = cs.Param("p", default=1)
    inner = cs.subflow(give([p, add(p, 2)]), {"p": add(cs.Param("q", default=7))})
    return give(cs.subflow([inner, 5]), inner)


def routed() -> Any:
    return cs.Router(add(1), {1: give("one"), (2, 3): give("two"), None: 0}, default=cs.Param("d", default="D"))


DAY = dt.date(2024, 2, 29)
HINTS: list[tuple[Any, str]] = [
    (list[int], "[1, 2]"),
    (dict[str, dt.date], '{"a": "2024-02-29"}'),
    (tuple[int, ...], "1"),
    (int | None, "none"),
    (Literal["a", 1, None], "1"),
    (Literal[Color.RED], "RED"),
    (Sequence[Mode] | dt.timedelta, "READ"),
    (Annotated[int, "how many"], "3"),
    (Point, '{"x": 1}'),
    (Any, "3"),
    (None | Path, "a"),
    (set[tuple[int, str]], '[[1, "a"]]'),
]

TARGETS: dict[str, Callable[[], Any]] = {
    "call": lambda: give(1, "x", None, True, 2.5, b=give(2)),
    "plain value": lambda: {"a": [1, (2, 3)]},
    "container target": lambda: {"a": give(1), "b": [give(2), 3]},
    "numbers": lambda: give([float("inf"), -0.0, 1 << 9000, 2 - 3j, True, -7]),
    "other values": lambda: give([b"\xff\x00", {1, 2}, frozenset("a"), (1, [2]), range(3), {1: 2, "$x": 3}, {"$y": 1}]),
    "text": lambda: give('</script>"\\ \n \u2028 ключ'),
    "enumeration": lambda: give(Color.RED),
    "containers": lambda: give([add(1), {"k": (add(2), [add(3)])}, Pair(add(4), 5)], {}, Pair(1, 2)),
    "shared container": lambda: (lambda box: give(box, box))([add(1)]),
    "function": lambda: give(cs.Value(Ledger.plain), cs.Value(dict)),
    "value of a value": lambda: give([cs.Value(3)], cs.Value(cs.Value(4))),
    "value of a task": lambda: give(cs.Value(add)),
    "task in a container": lambda: give([add]),
    "parameters": lambda: give(cs.Param("n", default=3), cs.Param("t", "x", description="words"), cs.Param("n", 3)),
    "flags": lambda: give([Mode.READ | Mode.WRITE, Mode(0), Mode.READ, Bits(7), Bits.TWO], {Mode.READ | Mode.WRITE: 1}),
    "standard values": lambda: give(
        [
            DAY,
            dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
            dt.time(1, 2),
            dt.timedelta(-1, 2, 3),
            Path("a"),
            uuid.UUID(int=1),
        ],
        [decimal.Decimal("1.50"), fractions.Fraction(1, 3), PurePath("b"), {DAY: 1}],
    ),
    "typed parameters": lambda: give(
        *(cs.Param(f"p{at}", type=hint, default=None) for at, (hint, _) in enumerate(HINTS)),
        *(
            cs.Param(f"d{at}", default=value)
            for at, value in enumerate([DAY, Mode.READ | Mode.WRITE, Path("a"), {1: 2}])
        ),
        cs.Param("untyped", default=None),
    ).run_if(False, otherwise=0),
    "environment": lambda: give(cs.Env("CASCADE_NOT_SET", default=None)),
    "input alone": lambda: cs.Param("n", default=[1]),
    "options": lambda: add(add(1, 2), b=multiply(3, 4)),
    "two tasks of one function": lambda: give(quick(1), give(1)),
    "static": lambda: static(4),
    "pure": lambda: [add(1, 2), add(1, b=2), add(1.0, 2)],
    "coroutine": lambda: later(give(1)),
    "gate": lambda: give(give(1).run_if(give(0), otherwise=give("else")), give(2).run_if(True)),
    "passed on": lambda: give(give(add(7)).run_if(False)),
    "order": lambda: give(1).after(give(2), add(3)),
    "sequence": lambda: [cs.sequence([give(1), give(2).run_if(False)]), 3],
    "pipeline": lambda: cs.pipeline(3, [add, lambda x: add(x, 1).run_if(False), give]),
    "policies": lambda: give(1).with_retry(4, delay=0.0, max_delay=2.0).with_constraints(slot=1).named("ours"),
    "router": routed,
    "map": lambda: give.map(a=[1, add(2), 3], b=range(3), concurrency=2).after(add(1)).named("each"),
    "partial map": lambda: give.partial(k=add(1)).map(a=give([1, 2])),
    "loop": loop,
    "machine": machine,
    "loop of a map": mapped_loop,
    "tail call": lambda: take(4),
    "resource": lambda: with_five(1),
    "injected resource": lambda: give(cs.inject(flows.five)),
    "sub-flow": subflows,
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_read_back_runs_with_the_same_result(name: str, tier: Tier) -> None:
    target = TARGETS[name]()
    back = again(target)
    expected = run(target, tier=tier, system_resources={"slot": 1})
    value = run(back, tier=tier, system_resources={"slot": 1})
    assert repr(value) == repr(expected)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_read_back_is_written_the_same(name: str) -> None:
    text = cs.to_json(TARGETS[name]())
    assert cs.to_json(cs.from_json(text, allow=ALLOWED)) == text


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - {"plain value"}))
def test_what_is_read_back_has_the_same_edges(name: str) -> None:
    target = TARGETS[name]()
    nest = nest_for(target, "a test")
    back = nest_for(again(target), "a test")
    assert pictures.engines_edges(back) == pictures.engines_edges(nest)
    assert [list(graph) for graph in back.graphs] == [list(graph) for graph in nest.graphs]


def test_it_runs_in_another_process() -> None:
    code = "import sys, cascade as cs\nprint(cs.run(cs.from_json(sys.argv[1], allow=['tests']), log_level='SILENT'))"
    assert run_python(f"import sys; sys.path.insert(0, {sys.path[0]!r})\n{code}", cs.to_json(loop())) == "(3, 2, 1)\n"


def test_parameters_can_be_given_afterwards() -> None:
    back = again(give(cs.Param("n", type=int), cs.Param("t", default="x")))
    assert run(back, {"n": "4"}) == (4, "x")
    with pytest.raises(cs.ParameterError, match="'n'"):
        run(back)


@pytest.mark.parametrize(("hint", "text"), HINTS)
def test_a_type_that_is_read_back_reads_alike(hint: Any, text: str) -> None:
    graph = give(cs.Param("p", type=hint))
    assert run(again(graph), {"p": text}) == run(graph, {"p": text})


def test_what_has_no_type_has_none_when_it_is_read_back() -> None:
    back = again(give(cs.Param("n"), cs.Param("t", type=str)))
    assert run(back, {"n": [1], "t": "x"}) == ([1], "x")
    with pytest.raises(cs.ParameterError, match="cannot take 1 as str"):
        run(back, {"n": 1, "t": 1})


def test_a_variable_keeps_its_description() -> None:
    assert '"description": "where"' in cs.to_json(again(give(cs.Env("CASCADE_NOT_SET", None, "where"))))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ('"$flag": ["tests.flows:Color", 1]', "no enumeration of flags"),
        ('"$text": ["os:system", "x"]', "no type that is written as text"),
    ],
)
def test_forms_of_values_that_nothing_wrote_are_refused(form: str, message: str) -> None:
    text = cs.to_json(give({"$secret": 1})).replace('"$dict": [["$secret", 1]]', form)
    with pytest.raises(ValueError, match=message):
        cs.from_json(text, allow=ALLOWED)


def test_forms_of_types_that_nothing_wrote_are_refused() -> None:
    text = cs.to_json(give(cs.Param("p", type=list[int])))
    with pytest.raises(ValueError, match="no form of a type"):
        cs.from_json(text.replace('"of"', '"off"'), allow=ALLOWED)
    with pytest.raises(ImportError, match="not allowed"):
        cs.from_json(text.replace("builtins:int", "os:PathLike"), allow=ALLOWED)


def test_errors_point_to_where_it_was_declared() -> None:
    back = again(add("x", 1))
    with pytest.raises(TypeError) as caught:
        run(back)
    assert f"{__file__}:{test_errors_point_to_where_it_was_declared.__code__.co_firstlineno + 1}" in str(
        caught.value.__notes__
    )


def test_a_task_of_the_module_is_that_very_task() -> None:
    assert again(give(1)).task is give
    assert again(add(1)).task is add
    assert again(quick(1)).task is quick


def test_a_task_with_other_options_is_made_anew() -> None:
    other = cs.task(name="other", retry=3)(give.func)
    back = again(other(1)).task
    assert (back.name, back.retry.max_attempts, back.func) == ("other", 3, give.func)


def test_objects_that_are_no_lazy_values_are_copied() -> None:
    shared = [1]
    first, second = run(again([give(shared), give(shared)]))
    assert first == second == [1]
    assert first is not second


def test_the_form_has_its_version() -> None:
    form = json.loads(cs.to_json(give(1)))
    assert (form["cascade"], form["version"]) == ("graph", 1)
    with pytest.raises(ValueError, match="version 1 of the form; this text is of version 2"):
        cs.from_json(json.dumps({**form, "version": 2}))


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"version": 1}'])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"cs\.to_json"):
        cs.from_json(text)


def test_what_is_not_whole_is_refused() -> None:
    form = json.loads(cs.to_json(give(give(1))))
    del form["graphs"][0]["nodes"][0]
    with pytest.raises(ValueError, match="not whole"):
        cs.from_json(json.dumps(form), allow=ALLOWED)


def test_a_call_that_the_task_does_not_take_any_more_is_refused() -> None:
    text = cs.to_json(add(1, b=2)).replace('"args": [1, 2]', '"args": [1, 2, 3]')
    with pytest.raises(ValueError, match=r"'plus'.*does not take any more"):
        cs.from_json(text, allow=ALLOWED)


# --- what cannot be written


class Opaque:
    """Something that JSON has nothing for."""

    def __repr__(self) -> str:
        return "Opaque()"


UNWRITABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "object": (lambda: add(1, Opaque()), r"the argument 'b' of 'plus' .*Opaque\(\)"),
    "inside": (lambda: add(1, [{"k": Opaque()}]), r"the argument 'b' of 'plus' .*Opaque\(\)"),
    "beside a lazy result": (lambda: add([give(1), Opaque()]), r"item 1 of a container of 'list'"),
    "map": (lambda: give.map(a=iter([1])), r"the argument 'a' of 'give' .*list_iterator"),
    "self": (lambda: Ledger().total(1), r"the argument 'self' of 'total'"),
    "lambda": (lambda: add(lambda: 1), r"the argument 'a' of 'plus' .*cannot be imported by its name"),
    "lazy value as a value": (lambda: add(cs.Value([give(1)])), r"the argument 'a' of 'plus' .*as a plain value"),
    "default": (lambda: give(cs.Param("p", default=Opaque())), r"the default of <Param 'p'"),
    "type": (lambda: give(cs.Param("p", type=Annotated[int, Gt(3)])), r"the type of <Param 'p'.*Annotated"),
    "part of a type": (
        lambda: give(cs.Param("p", type=list.__class_getitem__(type("Opaque", (), {})))),
        r"the type of <Param 'p'.*Opaque",
    ),
    "zone": (lambda: give(dt.datetime(2024, 2, 29, tzinfo=ZoneInfo("UTC"))), r"of 'give'.*a zone or a fold"),
    "condition": (lambda: give(1).run_if(Opaque()), r"the condition of 'give'"),
    "route": (lambda: cs.Router(1, {1: Opaque()}), r"the route 1 of 'router'"),
    "subclass of int": (lambda: give(type("Small", (int,), {})(3)), r"of 'give'"),
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_json_cannot_carry_is_named(name: str) -> None:
    make, message = UNWRITABLE[name]
    with pytest.raises(TypeError, match=f"cs.to_json: .*{message}"):
        cs.to_json(make())


def test_a_container_that_is_very_deep_or_holds_itself_is_refused() -> None:
    own: list[Any] = []
    own.append(own)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (own, deep):
        with pytest.raises(TypeError, match="nested more than"):
            cs.to_json(add(cs.Value(3), cs.Value(value) if value is deep else _holder(value)))


def _holder(value: Any) -> Any:
    return cs.Value(value)


# --- what must not be imported


def test_nothing_is_imported_that_is_not_allowed() -> None:
    text = cs.to_json(give(1))
    with pytest.raises(ImportError, match=r"task 'give' .* needs tests.flows:give, from a module that is not allowed"):
        cs.from_json(text)
    with pytest.raises(ImportError, match="not allowed"):
        cs.from_json(text, allow=["test", "flows", "tests.flow"])
    assert cs.from_json(text, allow=["tests.flows"]).task is give


def test_a_module_that_is_not_allowed_does_not_run(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap_module.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    text = cs.to_json(give(1)).replace("tests.flows:give", "trap_module:give")
    with pytest.raises(ImportError, match="not allowed"):
        cs.from_json(text, allow=["tests"])


@pytest.mark.parametrize(
    "name",
    [
        "tests.flows:operator.mul",
        "tests.flows:Iterator",
        "tests.flows:nothing",
        "tests.flows:cs.run",
        "tests.flows:give.func.__globals__",
    ],
)
def test_only_what_a_module_itself_has_is_found(name: str) -> None:
    with pytest.raises(ImportError, match="has nothing of this name of its own"):
        cs.from_json(cs.to_json(give(1)).replace("tests.flows:give", name), allow=ALLOWED)


def test_lambdas_and_local_functions_can_be_looked_at_and_not_be_run() -> None:
    @cs.task
    def local(n: int) -> int:
        return n

    for target, name in ((local(1), "local"), (flows.hidden(1), "<lambda>")):
        text = cs.to_json(target)
        assert json.loads(text)["tasks"][0]["function"] == (None if target.task is local else "tests.flows:hidden")
        if target.task is local:
            with pytest.raises(ImportError, match=f"task '{name}' .*cannot be imported"):
                cs.from_json(text, allow=ALLOWED)
        else:
            assert run(cs.from_json(text, allow=ALLOWED)) == 1  # a lambda with a name in its module can be found


def test_what_is_in_the_script_itself_says_so() -> None:
    code = """
import cascade as cs
@cs.task
def f():
    return 1
print(cs.to_json(f()))
"""
    with pytest.raises(ImportError, match="in the script that was run, so move it to a module"):
        cs.from_json(run_python(code), allow=ALLOWED)


def test_the_names_of_modules_come_as_a_list() -> None:
    with pytest.raises(TypeError, match=r"allow=\[.tests.\]"):
        cs.from_json(cs.to_json(give(1)), allow="tests")


# --- Lisp


def test_lisp_has_shared_nodes_in_a_let() -> None:
    shared = add(1, cs.Param("n", default=2))
    target = give([shared, multiply(shared, 3)], k="x").run_if(later(True), otherwise=None)
    assert cs.to_lisp(target) == (
        '(let* ((plus-0 (retry #"Retry(max_attempts=2, delay=0.0, backoff=1.0)" (plus 1 (param n 2)))))\n'
        '  (if (later #t) (give (list plus-0 (mul plus-0 3)) :k "x") nil))\n'
    )


def test_lisp_has_loops_and_routers() -> None:
    step = count(3)
    cs.bind(step, cs.select_jump({"again": step, "stop": None}))
    target = cs.Router(step, {1: give.map(a=step), 2: "two"}, default=cs.subflow(give(cs.Param("p")), {"p": 1}))
    assert cs.to_lisp(target) == (
        "(let* ((count-0 (count 3)))\n"
        '  (bind count-0 ("again" count-0) ("stop" exit))\n'
        '  (router count-0 (1 (map give (a) :a count-0)) (2 "two") (else (subflow ((p 1)) (give (param p))))))\n'
    )


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - {"plain value"}))
def test_lisp_is_balanced(name: str) -> None:
    text = cs.to_lisp(TARGETS[name]())
    depth, inside = 0, False
    plain = text.replace("\\\\", "").replace('\\"', "")
    for letter in plain:
        if letter == '"':
            inside = not inside
        depth += 0 if inside else (letter == "(") - (letter == ")")
        assert depth >= 0
    assert depth == 0
    assert not inside


def test_forms_of_any_depth() -> None:
    chain: Any = give(1)
    for _ in range(30_000):
        chain = give(chain)
    assert cs.to_lisp(chain).count("(give ") == 30_001
    assert run(again(chain)) == 1
    inner: Any = give(1)
    for _ in range(1000):
        inner = cs.subflow(give(inner))
    assert cs.to_lisp(inner).count("(subflow ") == 1000
    assert cs.to_json(again(inner)) == cs.to_json(inner)
