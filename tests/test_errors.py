"""The errors as such: one tree, fitting built-ins, words that print as written, and what pickles."""

import copy
import pickle
import traceback
from typing import Any

import pytest

import cascade as cs
from cascade import errors
from cascade.spec.events import RunFinished, RunStarted, TaskExecutionFinished, TaskRetrying, TaskSite
from tests.workflows import run

BUILTINS: dict[str, type[Exception]] = {
    "StaticGraphError": ValueError,
    "CycleError": ValueError,
    "DependencyMissingError": LookupError,
    "ResourceNotFoundError": LookupError,
    "ParameterError": ValueError,
    "JumpError": RuntimeError,
    "RouterError": LookupError,
    "ConstraintError": ValueError,
    "CacheError": RuntimeError,
    "BudgetError": RuntimeError,
    "ChannelError": RuntimeError,
    "ClusterError": RuntimeError,
    "WorkerLostError": RuntimeError,
    "ConnectorError": ConnectionError,
    "StateError": RuntimeError,
    "RunBusyError": RuntimeError,
    "RunLostError": RuntimeError,
    "RunChangedError": RuntimeError,
    "MissingExtraError": ImportError,
}
ALL = [getattr(errors, name) for name in errors.__all__]
every_error = pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)


@cs.task
def whole(x: int) -> int:
    """A task that pickles by reference."""
    return x


class Shop:
    """Has a method that is a task."""

    @cs.task
    def price(self, item: str) -> str:
        return f"{item}: 3"


@every_error
def test_each_is_a_cascade_error_and_a_fitting_builtin(error: type[Exception]) -> None:
    assert issubclass(error, cs.CascadeError)
    if error is not cs.CascadeError:
        assert issubclass(error, BUILTINS[error.__name__])


@every_error
def test_none_is_a_key_error_which_prints_its_message_escaped(error: type[Exception]) -> None:
    assert not issubclass(error, KeyError)
    message = "says 'this'\nin two lines"
    assert str(error(message)) == message
    assert message in "".join(traceback.format_exception_only(error(message)))


@every_error
def test_each_has_a_sentence_about_itself(error: type[Exception]) -> None:
    assert error.__doc__ is not None
    assert error.__doc__.endswith(".")
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


@every_error
def test_each_is_at_the_front_door(error: type[Exception]) -> None:
    assert getattr(cs, error.__name__) is error
    assert error.__name__ in cs.__all__


def test_all_errors_are_in_one_file() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined == set(errors.__all__)


@every_error
def test_each_pickles(error: type[Exception]) -> None:
    original = error("what happened")
    original.add_note("in task f#1")
    for twin in (pickle.loads(pickle.dumps(original)), copy.copy(original)):
        assert type(twin) is error
        assert (str(twin), twin.__notes__) == ("what happened", ["in task f#1"])


def test_an_error_that_came_out_of_a_run_pickles() -> None:
    @cs.task
    def jump() -> cs.Jump:
        return cs.Jump("nowhere")

    with pytest.raises(cs.JumpError) as caught:
        run(jump())
    twin = pickle.loads(pickle.dumps(caught.value))
    assert (type(twin), str(twin), twin.__notes__) == (cs.JumpError, str(caught.value), caught.value.__notes__)


@pytest.mark.parametrize(
    "event",
    [
        RunStarted(run_id="r", target_tasks=("f",), params={"n": [1]}),
        RunFinished(run_id="r", status="Failed", duration=0.5, error="ValueError: x"),
        TaskExecutionFinished(run_id="r", task_id="f#1[2]", iteration=3, result_preview="1"),
        TaskRetrying(run_id="r", task_id="f#1", attempt=1, error="OSError: y"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events_pickle(event: Any) -> None:
    twin = pickle.loads(pickle.dumps(event))
    assert twin == event
    assert twin.to_dict() == event.to_dict()


def test_a_site_pickles() -> None:
    site = TaskSite("r", "f#1", "f")
    assert pickle.loads(pickle.dumps(site)) == site


def test_tasks_pickle_by_reference() -> None:
    assert pickle.loads(pickle.dumps(whole)) is whole
    assert pickle.loads(pickle.dumps([whole, Shop.price])) == [whole, Shop.price]
    assert copy.copy(whole) is whole
    assert copy.deepcopy({"f": whole})["f"] is whole


def test_a_task_that_is_a_method_pickles_with_its_object() -> None:
    twin = pickle.loads(pickle.dumps(Shop().price))
    assert run(twin("tea")) == "tea: 3"


def test_a_task_that_cannot_be_found_by_its_name_does_not_pickle() -> None:
    local = cs.task(lambda: 1)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


@pytest.mark.parametrize(
    ("lazy", "word"),
    [
        (whole(1), "LazyResult of 'whole'"),
        (whole.map(x=[1]), "MappedResult of 'whole'"),
        (cs.Router("a", {"a": 1}), "Router"),
        (cs.Param("p"), "Param 'p'"),
        (cs.Env("E"), "Env 'E'"),
        (cs.subflow(whole(1)), "Subflow"),
    ],
    ids=["result", "map", "router", "param", "env", "sub-flow"],
)
def test_lazy_results_refuse_to_be_pickled(lazy: Any, word: str) -> None:
    for held in (lazy, [lazy], {"a": (lazy,)}):
        with pytest.raises(TypeError, match=f"{word}.*declared at .*test_errors.py.*does not pickle; build the graph"):
            pickle.dumps(held)
