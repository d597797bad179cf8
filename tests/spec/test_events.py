"""Events are immutable records that cost little to make and say everything by name."""

import copy
import json
import pickle
import time
from typing import Any, assert_type

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade.runtime.events
import cascade.spec.events
from cascade.spec.events import (
    ConnectorConnected,
    ConnectorDisconnected,
    ConnectorEvent,
    Event,
    ResourceAcquired,
    ResourceEvent,
    ResourceReleased,
    RunEvent,
    RunFinished,
    RunStarted,
    RunWarning,
    SkipReason,
    StaticAnalysisWarning,
    Status,
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSite,
    TaskSkipped,
    TaskYielded,
)
from tests.helpers import run_python

TASK: dict[str, Any] = {"run_id": "r", "task_id": "parse#3", "task_name": "parse", "iteration": 2}
OWN: dict[type[Event], dict[str, Any]] = {  # what each class has beyond its base
    RunStarted: {"target_tasks": ("parse",), "params": {"path": "x"}, "resumed": True, "recorded": 2},
    RunFinished: {"status": "Failed", "duration": 1.5, "error": "ValueError: no"},
    RunWarning: {"code": "abandoned-thread", "message": "parse#3 still runs"},
    StaticAnalysisWarning: {"warning_code": "W1", "message": "never used"},
    TaskExecutionStarted: {},
    TaskExecutionFinished: {"status": "Cancelled", "duration": 0.1, "error": None, "result_preview": "[1, 2"},
    TaskSkipped: {"reason": "ConditionFalse"},
    TaskRetrying: {"attempt": 1, "max_attempts": 3, "delay": 0.5, "error": "OSError: no"},
    TaskYielded: {"attempt": 1, "number": 3, "item_preview": "[1, 2"},
    TaskBlocked: {"reason": "paused"},
    ResourceAcquired: {"resource_name": "db"},
    ResourceReleased: {"resource_name": "db"},
    ConnectorConnected: {},
    ConnectorDisconnected: {},
}


def make(kind: type[Event], **changes: Any) -> Event:
    base = TASK if issubclass(kind, TaskEvent) else {"run_id": "r"}
    build: Any = kind
    event: Event = build(**{"timestamp": 100.0, **base, **OWN[kind], **changes})
    return event


every_kind = pytest.mark.parametrize("kind", OWN)


# --- the tree


@pytest.mark.parametrize(
    ("base", "kinds"),
    [
        (Event, set(OWN)),
        (RunEvent, {RunStarted, RunFinished, RunWarning, StaticAnalysisWarning}),
        (
            TaskEvent,
            {TaskExecutionStarted, TaskExecutionFinished, TaskSkipped, TaskRetrying, TaskYielded, TaskBlocked},
        ),
        (ResourceEvent, {ResourceAcquired, ResourceReleased}),
        (ConnectorEvent, {ConnectorConnected, ConnectorDisconnected}),
    ],
)
def test_a_base_class_has_these_events(base: type[Event], kinds: set[type[Event]]) -> None:
    assert {kind for kind in OWN if issubclass(kind, base)} == kinds


def test_every_event_has_a_public_path() -> None:
    inner, public = cascade.spec.events, cascade.runtime.events
    assert public.__all__ == inner.__all__ == sorted(inner.__all__)
    assert all(getattr(public, name) is getattr(inner, name) for name in inner.__all__)
    assert {kind.__name__ for kind in OWN} < set(public.__all__)


# --- fields


@every_kind
def test_a_field_is_read_by_its_name(kind: type[Event]) -> None:
    event = make(kind)
    expected = {"timestamp": 100.0, "run_id": "r", **OWN[kind]}
    assert {name: getattr(event, name) for name in expected} == expected
    if isinstance(event, TaskEvent):
        assert {name: getattr(event, name) for name in TASK} == TASK


@every_kind
def test_a_field_says_what_it_is(kind: type[Event]) -> None:
    fields = make(kind).to_dict()
    assert fields
    assert [name for name in fields if not getattr(kind, name).__doc__] == []


@every_kind
def test_a_dict_has_every_field(kind: type[Event]) -> None:
    event = make(kind)
    base = TASK if issubclass(kind, TaskEvent) else {"run_id": "r"}
    assert event.to_dict() == {"event_id": event.event_id, "timestamp": 100.0, **base, **OWN[kind]}
    assert json.loads(json.dumps(event.to_dict()))["event_id"] == event.event_id


@every_kind
def test_the_time_is_now_unless_it_is_given(kind: type[Event]) -> None:
    before = time.time()
    build: Any = kind
    event = build(**{**(TASK if issubclass(kind, TaskEvent) else {}), **OWN[kind]})
    assert before <= event.timestamp <= time.time()


def test_what_is_usual_need_not_be_said() -> None:
    event = TaskExecutionFinished(task_id="parse#3")
    assert (event.run_id, event.task_name, event.iteration) == ("", "parse", 0)
    assert (event.status, event.duration, event.error, event.result_preview) == ("Succeeded", 0.0, None, None)
    assert (RunStarted().target_tasks, RunStarted().params) == ((), {})
    assert Event(run_id="r").run_id == "r"


@pytest.mark.parametrize(
    ("task_id", "name"),
    [("parse#3", "parse"), ("parse#3[17]", "parse"), ("a#b#1", "a#b"), ("plain", "plain")],
)
def test_a_task_is_called_as_its_id_says(task_id: str, name: str) -> None:
    assert TaskExecutionStarted(task_id=task_id).task_name == name


def test_a_wrong_field_is_named() -> None:
    build: Any = TaskSkipped
    with pytest.raises(TypeError, match="TaskSkipped also needs task_id, reason"):
        build()
    with pytest.raises(TypeError, match=r"TaskSkipped does not take reasn; it takes .*reason"):
        build(task_id="f#1", reasn="Pruned")
    with pytest.raises(TypeError, match="does not take event_id"):
        build(task_id="f#1", reason="Pruned", event_id="mine")
    with pytest.raises(TypeError):
        build("r", "f#1")


def test_what_was_given_can_change_without_changing_the_event() -> None:
    targets, params = ["parse"], {"path": "x"}
    build: Any = RunStarted
    event = build(target_tasks=targets, params=params)
    targets.clear()
    params.clear()
    assert (event.target_tasks, event.params) == (("parse",), {"path": "x"})


def test_type_checkers_know_the_fields() -> None:
    finished = TaskExecutionFinished(task_id="f#1")
    assert_type(finished.status, Status)
    assert_type(finished.task_id, str)
    assert_type(finished.error, str | None)
    site = TaskSite("r", "f#1", "f")
    skipped = tuple.__new__(TaskSkipped, (site, 1.0, 0, "Pruned"))
    assert_type(skipped, TaskSkipped)
    assert_type(skipped.reason, SkipReason)


# --- records


@every_kind
def test_an_event_cannot_be_changed(kind: type[Event]) -> None:
    event = make(kind)
    for name in [*event.to_dict(), "anything_else"]:
        with pytest.raises(AttributeError):
            setattr(event, name, "other")


def test_the_parameters_of_a_run_cannot_be_changed() -> None:
    params: Any = RunStarted(params={"path": "x"}).params
    with pytest.raises(TypeError):
        params["path"] = "y"


@every_kind
def test_a_pickled_event_is_the_same(kind: type[Event]) -> None:
    event = make(kind)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        loaded = pickle.loads(pickle.dumps(event, protocol))
        assert type(loaded) is kind
        assert loaded == event
        assert loaded.to_dict() == event.to_dict()
    assert copy.deepcopy(event) == copy.copy(event) == event


@every_kind
def test_events_are_equal_when_all_is_equal(kind: type[Event]) -> None:
    fixed = {"event_id": "1"} if "event_id" in kind._stored else {}
    event, twin = make(kind, **fixed), make(kind, **fixed)
    assert event == twin
    assert hash(event) == hash(twin)
    assert event != make(kind, **fixed, timestamp=101.0)


def test_events_of_two_types_are_not_equal() -> None:
    site = TaskSite("r", "f#1", "f")
    started = tuple.__new__(TaskExecutionStarted, (site, 1.0, 0))
    other = tuple.__new__(TaskEvent, (site, 1.0, 0))
    assert started != other
    assert (started == other) is False
    assert started != (site, 1.0, 0)
    assert len({started, other}) == 2


def test_a_repr_begins_with_what_tells_events_apart() -> None:
    assert repr(make(TaskExecutionFinished)) == (
        "TaskExecutionFinished(task_id='parse#3', task_name='parse', iteration=2, status='Cancelled', "
        "duration=0.1, error=None, result_preview='[1, 2', timestamp=100.0, run_id='r')"
    )


@every_kind
def test_a_repr_evaluates_to_the_event(kind: type[Event]) -> None:
    event = make(kind)
    assert eval(repr(event), {kind.__name__: kind}) == event


# --- what the engine and compiled code build upon


@pytest.mark.parametrize(
    ("kind", "elements"),
    [
        (RunStarted, "event_id timestamp run_id target_tasks params resumed recorded"),
        (RunFinished, "event_id timestamp run_id status duration error"),
        (RunWarning, "event_id timestamp run_id code message"),
        (StaticAnalysisWarning, "event_id timestamp run_id warning_code message"),
        (TaskExecutionStarted, "site timestamp iteration"),
        (TaskExecutionFinished, "site timestamp iteration status duration error result_preview"),
        (TaskSkipped, "site timestamp iteration reason"),
        (TaskRetrying, "site timestamp iteration attempt max_attempts delay error"),
        (TaskYielded, "site timestamp iteration attempt number item_preview"),
        (TaskBlocked, "site timestamp iteration reason event_id"),
        (ResourceAcquired, "event_id timestamp run_id resource_name"),
        (ResourceReleased, "event_id timestamp run_id resource_name"),
        (ConnectorConnected, "event_id timestamp run_id"),
        (ConnectorDisconnected, "event_id timestamp run_id"),
    ],
)
def test_the_elements_come_in_this_order(kind: type[Event], elements: str) -> None:
    assert kind._stored == tuple(elements.split())


@every_kind
def test_an_event_made_of_its_elements_is_like_one_made_by_name(kind: type[Event]) -> None:
    event = make(kind)
    assert tuple.__new__(kind, tuple(event)) == event
    assert len(event) == len(kind._stored)


def test_the_events_of_one_node_share_its_site() -> None:
    site = TaskSite("r", "parse#3", "parse")
    started = tuple.__new__(TaskExecutionStarted, (site, 1.0, 0))
    skipped = tuple.__new__(TaskSkipped, (site, 1.0, 0, "Pruned"))
    assert started[0] is skipped[0] is site
    pair = pickle.loads(pickle.dumps([started, skipped]))
    assert pair[0][0] is pair[1][0]


def test_an_item_has_a_site_of_its_own() -> None:
    site = TaskSite("r", "parse#3", "parse").item(17)
    assert site == TaskSite("r", "parse#3[17]", "parse")


def test_events_cost_no_import_that_is_slow() -> None:
    code = "import sys, typing, cascade\nbefore = set(sys.modules)\nimport cascade.spec.events\n"
    imported = run_python(code + "print(*sorted(set(sys.modules) - before))").split()
    assert set(imported) & {"asyncio", "inspect", "dataclasses", "enum", "logging"} == set()


# --- ids


def test_the_id_of_a_task_event_can_be_read() -> None:
    assert make(TaskExecutionStarted).event_id == "TaskExecutionStarted:parse#3:2"
    assert make(TaskRetrying).event_id == "TaskRetrying:parse#3:2:1"
    assert make(TaskYielded).event_id == "TaskYielded:parse#3:2:1:3"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([TaskExecutionStarted, TaskExecutionFinished, TaskSkipped, TaskRetrying]),
            st.text("a:#1", max_size=4),
            st.integers(0, 12),
            st.integers(1, 12),
        ),
        max_size=30,
    )
)
def test_an_id_is_unique_to_type_node_iteration_and_attempt(
    whats: list[tuple[type[TaskEvent], str, int, int]],
) -> None:
    ids: dict[str, Any] = {}
    for kind, task_id, iteration, attempt in whats:
        site = TaskSite("r", task_id, "")
        event = tuple.__new__(kind, (site, 0.0, iteration, attempt))
        what = (kind, task_id, iteration, attempt if kind is TaskRetrying else 0)
        assert ids.setdefault(event.event_id, what) == what
    assert len(set(ids.values())) == len(ids)


@pytest.mark.parametrize("kind", [kind for kind in OWN if "event_id" in kind._stored])
def test_what_may_happen_again_has_a_fresh_id(kind: type[Event]) -> None:
    ids = {make(kind).event_id for _ in range(100)}
    assert len(ids) == 100
    assert make(kind, event_id="mine").event_id == "mine"
