"""What `cs.check` finds in what nodes are given."""

from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine


@cs.task
def name() -> str:
    return "a"


@cs.task
def write(path: Any, more: Any = None) -> Any:
    return path


@cs.task
def ask() -> bool:
    return True


def codes(target: Any, **options: Any) -> list[str]:
    return [each.code for each in cs.check(target, **options)]


@pytest.mark.parametrize(
    "make", [name, lambda: cs.Param("v", default=1), lambda: cs.subflow(name()), lambda: name.map()]
)
def test_a_text_of_a_lazy_value(make: Any) -> None:
    try:
        lazy = make()
    except TypeError:
        lazy = write.map(path=["a"])
    text = "out-%s.txt" % lazy  # noqa: UP031
    for target in (
        write(text),
        write("a" + str(lazy)),
        write(1, {"k": ["x", (text,)]}),
        write.partial(more=text).map(path=["a"]),
        write(cs.Router(ask(), {True: text})),
        write(1).run_if(ask(), otherwise=text),
        write([name(), text]),
    ):
        [finding] = [each for each in cs.check(target) if each.code == "lazy-text"]
        assert finding.severity == "error"
        assert repr(lazy)[:12] in finding.message
        assert "cs.format(" in finding.message
        assert (finding.file, finding.line > 0) == (__file__, True)
    [finding] = cs.check(write(f"out-{name}.txt"))  # which lacks the ()
    assert finding.code == "lazy-text"
    assert "call the task" in finding.message
    assert "lazy-text" not in codes(write("declared at dawn, <LazyResult"))


def test_an_input_that_runs_for_nothing() -> None:
    [finding] = cs.check(write(1, name()).run_if(ask()))
    assert (finding.code, finding.task) == ("gated-input", "name")
    assert "cs.Router(condition, {True: write(...), False: None})" in finding.message
    assert codes(write(name()).run_if(ask(), otherwise=0)) == ["gated-input"]
    shared = name()
    for fine in (
        write(name()).run_if(ask()),  # it is what the skipped node gives
        [shared, write(1, shared).run_if(ask())],
        write(1, shared).run_if(shared),
        write(1, shared).run_if(True),
        write(1, name()),
    ):
        assert codes(fine) == []


def test_a_constraint_on_what_there_is_not() -> None:
    target = write(1).with_constraints(gpus=2)
    assert codes(target) == []
    [finding] = cs.check(target, engine=Engine(system_resources={"gpu": 1}))
    assert finding.code == "unknown-capacity"
    assert "did you mean 'gpu'? (it has: gpu: system_resources)" in finding.message
    assert codes(target, engine=Engine(system_resources={"gpus": 4})) == []
    assert codes(cs.subflow(target), engine=Engine()) == ["unknown-capacity"]


def test_nodes_of_one_name_in_a_cycle_are_told_apart() -> None:
    first = write(1)
    third = write(write(first))
    first.after(third)
    with pytest.raises(cs.CycleError, match=r"(?s)write#1 \(.*write#2 \(.*write#3 \(.*write#1 "):
        cs.compile(third)
