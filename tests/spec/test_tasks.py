"""Tasks: what they keep of their function, which callables they take, and how a call of one is checked."""

import asyncio
import functools
import inspect
import math
import operator
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import MessageBus
from cascade.runtime.events import TaskEvent
from cascade.testing import SpyExecutor, SpySubscriber
from tests.workflows import Tier, every_tier, run


@cs.task
def greet(name: str, greeting: str = "hello", *, mark: str = "!") -> str:
    """Say something nice."""
    return f"{greeting} {name}{mark}"


@cs.task
def half(x: float, /) -> float:
    return x / 2


@cs.task
async def later(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


def line_here() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


class TestWhatATaskKeeps:
    def test_the_name_and_the_docstring(self) -> None:
        assert greet.__name__ == greet.name == "greet"
        assert greet.__qualname__ == "greet"
        assert greet.__module__ == __name__
        assert greet.__doc__ == "Say something nice."

    def test_the_signature(self) -> None:
        assert inspect.signature(greet) == inspect.signature(greet.func)
        assert list(inspect.signature(greet).parameters) == ["name", "greeting", "mark"]

    def test_the_function_for_unit_tests(self) -> None:
        assert greet.func("ada", mark="?") == "hello ada?"
        assert greet.__wrapped__ is greet.func

    def test_its_repr_says_where_the_function_stands(self) -> None:
        assert repr(greet) == f"<Task 'greet', declared at {__file__}:{greet.func.__code__.co_firstlineno}>"

    def test_a_task_pickles_by_reference(self) -> None:
        assert pickle.loads(pickle.dumps(greet)) is greet


class TestWhatCanBeATask:
    @every_tier
    def test_a_function(self, tier: Tier) -> None:
        assert run(greet("ada", mark="?"), tier=tier) == "hello ada?"

    @every_tier
    def test_an_async_function(self, tier: Tier) -> None:
        assert run(later(1), tier=tier) == 2

    @every_tier
    def test_a_lambda(self, tier: Tier) -> None:
        assert run(cs.task(lambda x, y=2: x * y)(21), tier=tier) == 42

    @every_tier
    def test_a_builtin_with_a_signature(self, tier: Tier) -> None:
        length = cs.task(len)
        assert length.name == "len"
        assert run(length([1, 2, 3]), tier=tier) == 3
        with pytest.raises(TypeError, match="task 'len' cannot be called like this"):
            length()

    @every_tier
    def test_a_builtin_without_a_signature_is_not_checked(self, tier: Tier) -> None:
        longest = cs.task(max)  # type: ignore[arg-type]  # its overloads are too much for mypy
        assert run(longest(1, 3, 2), tier=tier) == 3
        assert run(longest([[1], [1, 2]], key=len), tier=tier) == [1, 2]
        longest()  # Python does not know what max takes, so this shows when it runs
        with pytest.raises(TypeError, match="max expected at least 1 argument"):
            run(longest(), tier=tier)

    @every_tier
    def test_a_class_a_partial_and_an_object_that_can_be_called(self, tier: Tier) -> None:
        class Adder:
            def __init__(self, amount: int) -> None:
                self.amount = amount

            def __call__(self, x: int) -> int:
                return x + self.amount

        assert run(cs.task(complex)(1.0, 2.0), tier=tier) == 1 + 2j
        assert run(cs.task(functools.partial(operator.sub, 10))(3), tier=tier) == 7
        assert run(cs.task(Adder(5))(3), tier=tier) == 8
        assert run(cs.task(operator.itemgetter(1))([3, 4]), tier=tier) == 4

    @every_tier
    def test_an_object_whose_call_is_async(self, tier: Tier) -> None:
        class Fetch:
            async def __call__(self, x: int) -> int:
                await asyncio.sleep(0)
                return x * 2

        async def add(x: int, y: int) -> int:
            return x + y

        assert run(cs.task(Fetch())(4), tier=tier) == 8
        assert run(cs.task(functools.partial(add, 1))(4), tier=tier) == 5

    @every_tier
    def test_a_method_binds_self(self, tier: Tier) -> None:
        class Shop:
            def __init__(self, rate: int) -> None:
                self.rate = rate

            @cs.task
            def price(self, amount: int, extra: int = 0) -> int:
                """What it costs."""
                return amount * self.rate + extra

            @cs.task
            async def fetch(self, amount: int) -> int:
                await asyncio.sleep(0)
                return amount - self.rate

        cheap, dear = Shop(2), Shop(5)
        assert run([cheap.price(3), dear.price(3, extra=1)], tier=tier) == [6, 16]
        assert run([dear.price(amount=3, extra=1) for _ in range(2)], tier=tier) == [16, 16]  # spelled as before
        assert [dear.price(amount=1).declared, dear.price(1).declared] == [f"{__file__}:{line_here()}"] * 2
        assert run(dear.fetch(amount=cheap.price(10)), tier=tier) == 15
        assert run(dear.price.map(amount=[1, 2]), tier=tier) == [5, 10]
        assert run(dear.price.partial(extra=3).map(amount=[1, 2]), tier=tier) == [8, 13]
        assert dear.price.__wrapped__(2) == 10
        assert list(inspect.signature(dear.price).parameters) == ["amount", "extra"]
        assert Shop.price.__doc__ == "What it costs."

    @every_tier
    def test_a_method_of_the_class_itself_takes_self_as_an_argument(self, tier: Tier) -> None:
        class Cell:
            @cs.task
            def same(self) -> object:
                return self

        cell = Cell()
        assert run(Cell.same(cell), tier=tier) is cell

    def test_a_method_is_checked_like_any_call(self) -> None:
        class Cell:
            @cs.task
            def put(self, value: int) -> int:
                return value

        with pytest.raises(TypeError, match="missing a required argument: 'value'"):
            Cell().put()

    @every_tier
    def test_a_static_or_class_method_has_the_decorator_on_the_outside(self, tier: Tier) -> None:
        class Numbers:
            @staticmethod
            @cs.task
            def twice(x: int) -> int:
                return 2 * x

        assert run(Numbers.twice(4), tier=tier) == 8
        with pytest.raises(TypeError, match=r"put @staticmethod or @classmethod above @cs.task"):
            cs.task(staticmethod(abs))

    @pytest.mark.parametrize("wrong", [3, None, "f"])
    def test_nothing_else(self, wrong: Any) -> None:
        declare = cs.task(name="x")
        with pytest.raises(TypeError, match="makes a task of a function"):
            declare(wrong)

    def test_a_task_is_not_decorated_twice(self) -> None:
        with pytest.raises(TypeError, match="is a task already"):
            cs.task(greet)

    def test_a_generator_function(self) -> None:
        def numbers() -> Iterator[int]:
            yield 1

        async def more() -> AsyncIterator[int]:
            yield 1

        functions: list[Callable[..., Any]] = [numbers, more, functools.partial(numbers)]
        assert [run(cs.task(func)()) for func in functions] == [[1], [1], [1]]

    @every_tier
    def test_redefining_a_function_makes_a_new_task(self, tier: Tier) -> None:
        made = []
        for number in range(2):

            @cs.task
            def answer(number: int = number) -> int:
                return number

            made.append(answer)
        assert made[0] is not made[1]
        assert run([task() for task in made], tier=tier) == [0, 1]


class TestACall:
    def test_runs_nothing(self) -> None:
        calls: list[int] = []
        result = cs.task(calls.append)(1)
        assert isinstance(result, cs.LazyResult)
        assert calls == []

    def test_does_not_run_when_it_is_only_built(self) -> None:
        calls: list[int] = []
        cs.compile(cs.task(calls.append)(1))
        assert calls == []

    @pytest.mark.parametrize(
        ("call", "reason"),
        [
            (lambda: greet(), "missing a required argument: 'name'"),
            (lambda: greet("a", "b", "c"), "too many positional arguments"),
            (lambda: greet("a", nmae="b"), "got an unexpected keyword argument 'nmae'"),
            (lambda: greet("a", name="b"), "multiple values for argument 'name'"),
            (lambda: half(x=1), "positional.only"),
            (lambda: greet.partial(mark=".")(), "missing a required argument: 'name'"),
        ],
    )
    def test_of_a_wrong_shape_is_a_type_error_at_once(self, call: Callable[[], Any], reason: str) -> None:
        with pytest.raises(TypeError, match=reason) as caught:
            call()
        assert "cannot be called like this" in str(caught.value)
        assert f"declared at {__file__}:" in str(caught.value)

    def test_of_a_wrong_shape_is_reported_on_the_users_own_line(self) -> None:
        line = line_here() + 2
        with pytest.raises(TypeError) as caught:
            greet("a", "b", "c")
        users = [entry for entry in caught.traceback if str(entry.path) == __file__]
        assert users[-1].lineno + 1 == line

    @every_tier
    def test_of_every_kind_of_parameter(self, tier: Tier) -> None:
        @cs.task
        def every(a: int, /, b: int, c: int = 3, *rest: int, d: int, e: int = 5, **more: int) -> Any:
            return a, b, c, rest, d, e, more

        assert run(every(1, 2, d=4), tier=tier) == (1, 2, 3, (), 4, 5, {})
        assert run(every(1, b=2, d=4), tier=tier) == (1, 2, 3, (), 4, 5, {})
        assert run(every(1, 2, 0, 7, 8, d=4, e=6, f=9), tier=tier) == (1, 2, 0, (7, 8), 4, 6, {"f": 9})
        assert run(every(1, c=0, b=2, a=3, d=4), tier=tier) == (1, 2, 0, (), 4, 5, {"a": 3})
        with pytest.raises(TypeError, match=r"missing a required .*argument: 'd'"):
            every(1, 2)

    @every_tier
    def test_of_a_function_behind_a_wrapper_is_checked_against_what_it_shows(self, tier: Tier) -> None:
        def plain(x: int, *, y: int) -> int:
            return x - y

        @functools.wraps(plain)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            assert not args or "x" not in kwargs
            return plain(*args, **kwargs)

        task = cs.task(wrapped)
        assert run(task(3, y=1), tier=tier) == 2
        assert run(task(x=3, y=1), tier=tier) == 2
        with pytest.raises(TypeError, match="'y'"):
            task(3)

    @every_tier
    def test_defaults_are_those_of_the_function(self, tier: Tier) -> None:
        assert run([greet("a"), greet("a", "hi")], tier=tier) == ["hello a!", "hi a!"]


class TestATaskThatIsNotCalled:
    def test_is_refused_as_a_whole_argument(self) -> None:
        for call in (lambda: greet(half), lambda: greet(name=half), lambda: greet.partial(mark=half)):
            with pytest.raises(TypeError, match=r"did you mean half\(\)\?"):
                call()

    @every_tier
    def test_passes_in_a_value(self, tier: Tier) -> None:
        same = cs.task(lambda x, y=None: (x, y))
        assert run(same(cs.Value(half), y=cs.Value(greet)), tier=tier) == (half, greet)

    @every_tier
    def test_is_a_value_inside_a_container(self, tier: Tier) -> None:
        same = cs.task(lambda x: x)
        assert run(same([half, {"f": greet}]), tier=tier) == [half, {"f": greet}]
        assert run(same([half, same(1)]), tier=tier) == [half, 1]

    @every_tier
    def test_is_no_target(self, tier: Tier) -> None:
        with pytest.raises(TypeError, match=r"did you mean half\(\)\?"):
            run(half, tier=tier)
        with pytest.raises(TypeError, match=r"did you mean half\(\)\?"):
            cs.run(half, log_level="SILENT")


class TestOptions:
    def test_the_name_is_what_events_call_it(self) -> None:
        task = cs.task(name="parse it")(math.sqrt)
        bus = MessageBus()
        spy = SpySubscriber(bus)
        assert run(task(4), bus=bus) == 2
        names = {(event.task_id, event.task_name) for event in spy.events_of_type(TaskEvent)}
        assert names == {("parse it#1", "parse it")}
        assert task.__name__ == "sqrt"

    def test_retry_constraints_and_mode_are_the_defaults_of_every_call(self) -> None:
        calls = []

        @cs.task(name="shaky", mode="blocking", retry=3, constraints={"gpu": 1}, tags=["io", "net"])
        def shaky(x: int) -> int:
            calls.append(x)
            if len(calls) % 3:
                raise ConnectionError
            return x

        assert (shaky.mode, shaky.tags) == ("blocking", ("io", "net"))
        assert run([shaky(1)], system_resources={"gpu": 1}) == [1]
        assert run(shaky(2), system_resources={"gpu": 1}) == 2
        assert calls == [1, 1, 1, 2, 2, 2]
        with pytest.raises(cs.ConstraintError, match="gpu"):
            run(shaky(1), system_resources={"gpu": 0.5})

    @pytest.mark.parametrize("retry", [2, {"max_attempts": 2}, (2, 0.0, 1.0, 0.0, None, Exception, ())])
    def test_retry_takes_an_int_or_what_with_retry_takes(self, retry: Any) -> None:
        calls = []

        @cs.task(retry=retry)
        def fails() -> None:
            calls.append(1)
            raise ConnectionError

        with pytest.raises(ConnectionError):
            run(fails())
        assert len(calls) == 2

    def test_the_defaults_are_replaced_by_what_a_call_says(self) -> None:
        calls = []

        @cs.task(retry=5)
        def fails() -> None:
            calls.append(1)
            raise ConnectionError

        with pytest.raises(ConnectionError):
            run(fails().with_retry(2))
        assert len(calls) == 2

    def test_the_mode_reaches_the_executor(self) -> None:
        spy = SpyExecutor()
        modes: list[Any] = ["auto", "inline", "blocking", "compute"]
        run([cs.task(mode=mode)(abs)(-1) for mode in modes], executor=spy)
        assert [node.mode for node, _, _ in spy.calls] == modes

    def test_a_mode_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(ValueError, match="mode is one of auto, inline, blocking, compute, process, not 'fast'"):
            cs.task(mode="fast")  # type: ignore[call-overload]

    def test_an_async_function_runs_in_no_process(self) -> None:
        async def work() -> None: ...

        with pytest.raises(ValueError, match=r"task 'work' \(.*test_tasks.py:\d+\) is async.*leave mode=.process. out"):
            cs.task(mode="process")(work)

    def test_an_unknown_option_of_retry_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"retry has no option 'attempts'; write max_attempts=3"):
            cs.task(retry={"attempts": 3})


def test_keywords_that_are_in_order_are_positions() -> None:
    @cs.task
    def f(a: int, /, b: int = 0, *others: int, c: int = 0, **more: int) -> Any:
        return a, b, others, c, more

    assert (f(1, b=2).args, f(1, b=2).kwargs) == ((1, 2), None)
    for call in (f(1, c=2), f(1, b=2, c=3), f(1, c=3, b=2), f(1, d=4)):
        assert call.args == (1,)
        assert call.kwargs

    @cs.task
    @functools.wraps(f.func)
    def claimed(*args: int, **kwargs: int) -> Any:  # it may want them as keywords
        return args, kwargs

    for _ in range(2):
        assert claimed(1, b=2).kwargs == {"b": 2}
        with pytest.raises(TypeError, match="multiple values for argument 'b'"):
            f(1, 2, b=3)
        assert run([f(1, b=2), claimed(1, b=2)]) == [(1, 2, (), 0, {}), ((1,), {"b": 2})]
