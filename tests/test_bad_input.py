"""What beginners get wrong: each mistake is an error of a fitting type that says what, where, and what to do."""

import asyncio
import inspect
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from tests.workflows import Tier, every_tier, run

HERE = r"[^ ]*test_bad_input\.py"


@cs.task
def add(x: int, y: int = 0) -> int:
    return x + y


@cs.task
def other(x: Any = None) -> Any:
    return x


def line_of(text: str) -> int:
    """The line of the caller's function that holds `text` first."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    lines, first = inspect.getsourcelines(frame.f_back.f_code)
    return next(first + at for at, line in enumerate(lines) if text in line and "line_of" not in line)


def place(line: int) -> str:
    return f"{__file__}:{line}"


def declared(task: Any) -> str:
    """Where a task's function stands."""
    return place(task.func.__code__.co_firstlineno)


def says(error: BaseException, *words: str) -> None:
    """Check that the message, with its notes, holds all these words in this order, and nothing cryptic."""
    text = "\n".join([str(error), *getattr(error, "__notes__", [])])
    at = 0
    for word in words:
        found = text.find(word, at)
        assert found >= 0, f"{word!r} is not (or not in its place) in:\n{text}"
        at = found + len(word)
    assert not re.search(r" at 0x[0-9a-f]+", text), text


def points_here(error: BaseException) -> None:
    """Check that the traceback shows a line of this file last, before Cascade's own."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    assert __file__ in files


# --- declaring


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: add(), "missing a required argument: 'x'"),
        (lambda: add(1, 2, 3), "too many positional arguments"),
        (lambda: add(1, z=3), "got an unexpected keyword argument 'z'"),
        (lambda: add(1, x=3), "multiple values for argument 'x'"),
    ],
)
def test_wrong_arguments_at_a_call(call: Callable[[], Any], reason: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    says(
        caught.value,
        "task 'add' cannot be called like this",
        reason,
        "it is add(x: int, y: int = 0) -> int",
        declared(add),
    )
    points_here(caught.value)


@every_tier
@pytest.mark.parametrize("kind", ["inline", "blocking", "async"])
def test_a_task_that_returns_a_lazy_result(kind: Any, tier: Tier) -> None:
    def nested(x: int) -> Any:
        return add(x)

    async def nested_async(x: int) -> Any:
        return add(x)

    task = cs.task(name="nested")(nested_async) if kind == "async" else cs.task(mode=kind)(nested)
    with pytest.raises(cs.StaticGraphError) as caught:
        run(task(1), tier=tier)
    says(
        caught.value,
        f"task 'nested' (declared at {declared(task)}) returned <LazyResult of 'add', declared at {__file__}:",
        "a running task cannot add to the graph: return a value (add.func(...) calls a task's function at once)",
        "cs.Jump(...)",
        "in task nested#1",
    )


def test_a_task_that_was_never_called_passed_as_a_value() -> None:
    calls: list[Callable[[], Any]] = [
        lambda: add(other),
        lambda: add(x=other),
        lambda: add.partial(y=other),
        lambda: add.partial(y=other)(1),
    ]
    for call in calls:
        with pytest.raises(TypeError) as caught:
            call()
        says(
            caught.value,
            f"task 'add' ({declared(add)}) is given the task 'other' itself as an argument",
            "did you mean other()? (cs.Value(other) passes the task itself)",
        )
        points_here(caught.value)
    with pytest.raises(TypeError) as caught:
        cs.run(add, log_level="SILENT")
    says(caught.value, "'add'", declared(add), "was not called, so there is nothing to run yet; did you mean add()?")
    with pytest.raises(TypeError) as caught:
        add.map(x=other)
    says(caught.value, f"map of 'add' ({declared(add)}): x= takes something to iterate over, not the task itself")
    given: Any = run(other(cs.Value(add)))
    assert given is add


@every_tier
def test_a_cycle(tier: Tier) -> None:
    first = add(1).named("first")
    second = other(first).named("second")
    first.after(second)
    with pytest.raises(cs.CycleError) as caught:
        run(second, tier=tier)
    says(caught.value, "these nodes wait for each other, so none can start", "(to repeat work use cs.bind and cs.Jump)")
    for name, line in (("first", line_of("first = add")), ("second", line_of("second = other"))):
        says(caught.value, f"{name} (declared at {place(line)})")


@every_tier
def test_an_unknown_jump_key(tier: Tier) -> None:
    @cs.task
    def step(n: int) -> cs.Jump:
        return cs.Jump("agian", n)

    looping = step(3)
    cs.bind(looping, cs.select_jump({"again": looping, "exit": None}))
    with pytest.raises(cs.JumpError) as caught:
        run(looping, tier=tier)
    says(
        caught.value,
        f"task 'step' (declared at {declared(step)}) returned Jump('agian', data=3),",
        "but its selector has no route 'agian'",
        "the routes are: 'again', 'exit'; did you mean 'again'?",
        "(a Jump names a key of the dict given to cs.select_jump)",
        f"in task step#1 (declared at {place(line_of('looping = step'))})",
    )


@every_tier
def test_a_jump_with_no_binding(tier: Tier) -> None:
    @cs.task
    def step(n: int) -> cs.Jump:
        return cs.Jump("again", n)

    with pytest.raises(cs.JumpError) as caught:
        run(step(3), tier=tier)
    says(
        caught.value,
        f"task 'step' (declared at {declared(step)}) returned Jump('again', data=3) but is not bound",
        "to a selector; bind it:",
        "  step = step(...)\n  cs.bind(step, cs.select_jump({'again': step, 'exit': None}))",
    )


@pytest.mark.parametrize(
    "wrong", [5, None, "add", cs.Param("p"), cs.Router("a", {"a": 1})], ids=lambda wrong: str(type(wrong))
)
def test_binding_something_that_is_no_lazy_result(wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        cs.bind(wrong, cs.select_jump({"exit": None}))
    says(caught.value, "cs.bind binds a lazy result (step = task(...); cs.bind(step, selector)), not", repr(wrong))
    points_here(caught.value)


def test_binding_a_task_that_was_not_called_or_to_no_selector() -> None:
    uncalled: Any = add
    with pytest.raises(TypeError) as caught:
        cs.bind(uncalled, cs.select_jump({"exit": None}))
    says(caught.value, f"not <Task 'add', declared at {declared(add)}>; did you mean add(...)?")
    routes: Any = {"exit": None}
    with pytest.raises(TypeError) as caught:
        cs.bind(add(1), routes)
    says(
        caught.value,
        "cs.bind(<LazyResult of 'add', declared at ",
        "takes what cs.select_jump returns, not {'exit': None}",
    )
    with pytest.raises(TypeError) as caught:
        cs.select_jump({"again": uncalled})
    says(
        caught.value,
        "the route 'again'",
        f"<Task 'add', declared at {declared(add)}>",
        "(a task that was called) or None",
    )


@every_tier
def test_a_missing_parameter(tier: Tier) -> None:
    count = cs.Param("count", type=int)
    with pytest.raises(cs.ParameterError) as caught:
        run([add(count), add(cs.Param("size", 1))], {"size": 2}, tier=tier)
    says(
        caught.value,
        f"parameter 'count' (declared at {place(line_of('count = cs'))}) is required and was not given (given: 'size')",
        "pass params={'count': ...} or declare a default",
    )
    with pytest.raises(cs.ParameterError) as caught:
        run(other(cs.Env("NO_SUCH_VARIABLE")), tier=tier)
    says(
        caught.value,
        f"the environment has no variable 'NO_SUCH_VARIABLE' (declared at {__file__}:",
        "set it, or declare",
    )


@every_tier
def test_an_unconvertible_parameter(tier: Tier) -> None:
    count, flag = cs.Param("count", type=int), cs.Param("flag", False)
    where = place(line_of("count, flag"))
    with pytest.raises(cs.ParameterError) as caught:
        run(add(count), {"count": "many"}, tier=tier)
    says(caught.value, f"parameter 'count' (declared at {where}) cannot take 'many' as int: invalid literal for int()")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(cs.ParameterError) as caught:
        run(other(flag), {"flag": "maybe"}, tier=tier)
    says(caught.value, f"parameter 'flag' (declared at {where}) cannot take 'maybe' as bool (write true, false, 1, 0,")


@every_tier
def test_two_different_parameters_of_one_name(tier: Tier) -> None:
    one = cs.Param("n", 1)
    two = cs.Param("n", "x")
    with pytest.raises(cs.ParameterError) as caught:
        run([add(one), add(two)], tier=tier)
    says(
        caught.value,
        "parameter 'n' is declared twice, differently",
        f"at {place(line_of('one = cs'))} as int = 1",
        f"at {place(line_of('two = cs'))} as str = 'x'",
        "declare it once and use it in both places",
    )


@every_tier
def test_an_unknown_parameter_given(tier: Tier) -> None:
    with pytest.raises(cs.ParameterError) as caught:
        run(add(cs.Param("count", 1)), {"cuont": 2}, tier=tier)
    says(caught.value, "there is no parameter 'cuont'; did you mean 'count'? (the graph has: count)")
    with pytest.raises(cs.ParameterError) as caught:
        run(add(1), {"count": 2}, tier=tier)
    says(caught.value, "there is no parameter 'count' (the graph has: no parameters)")


@every_tier
def test_an_unknown_route(tier: Tier) -> None:
    router = cs.Router(other("summer"), {"winter": 1, "spring": add(2)})
    with pytest.raises(cs.RouterError) as caught:
        run(add(router), tier=tier)
    says(
        caught.value,
        f"the selector of the router declared at {place(line_of('router = '))} gave 'summer', which has no route",
        "the routes are: 'winter', 'spring'",
        "(default=... would take any other key)",
    )


@every_tier
def test_unequal_map_inputs(tier: Tier) -> None:
    words = ["the inputs differ in length: x has 3, y has 1", "give each as many items", "add.partial(...).map(...)"]
    with pytest.raises(ValueError, match="differ in length") as caught:
        add.map(x=[1, 2, 3], y=[1])
    says(caught.value, f"map of 'add' ({declared(add)})", *words)
    points_here(caught.value)
    with pytest.raises(ValueError, match="differ in length") as caught:
        run(add.map(x=other([1, 2, 3]), y=[1]), tier=tier)
    says(caught.value, f"map of 'add' ({declared(add)})", *words, f"in task add#1 (declared at {__file__}:")


@every_tier
@pytest.mark.parametrize("scalar", [3, None, "abc", b"abc"])
def test_a_scalar_given_to_map(scalar: Any, tier: Tier) -> None:
    words = [
        f"map of 'add' ({declared(add)}): x= takes something to iterate over, not {scalar!r}",
        "(for a value that stays the same: add.partial(x=...).map(...))",
    ]
    with pytest.raises(TypeError) as caught:
        add.map(x=scalar)
    says(caught.value, *words)
    points_here(caught.value)
    with pytest.raises(TypeError) as caught:
        run(add.map(x=other(scalar)), tier=tier)
    says(caught.value, *words, "in task add#1 ")


@every_tier
def test_a_jump_with_an_unknown_argument_name(tier: Tier) -> None:
    @cs.task
    def step(count: int, total: int = 0) -> cs.Jump:
        return cs.Jump("again", {"cuont": count - 1})

    looping = step(3)
    cs.bind(looping, cs.select_jump({"again": looping}))
    with pytest.raises(cs.JumpError) as caught:
        run(looping, tier=tier)
    says(
        caught.value,
        f"a Jump gives the argument 'cuont' to step (declared at {place(line_of('looping = step'))})",
        "which has no such argument",
        "did you mean 'count'? (it takes: count, total)",
        "in task step#1 ",
    )


@every_tier
def test_a_tail_call_with_an_unknown_argument_name(tier: Tier) -> None:
    @cs.task
    def step(count: int) -> cs.TailCall:
        return cs.TailCall(kwargs={"cuont": count - 1})

    with pytest.raises(TypeError) as caught:
        run(step(3), tier=tier)
    says(
        caught.value,
        f"a TailCall of task 'step' (declared at {declared(step)}) gives it the argument 'cuont'",
        "which it does not take",
        "did you mean 'count'? (it takes: count)",
        "in task step#1 ",
    )


@every_tier
def test_a_state_that_depends_on_a_state_of_its_own_loop(tier: Tier) -> None:
    first = other(1).named("first")
    second = add(first).named("second")
    cs.bind(first, cs.select_jump({"on": second, "exit": None}))
    cs.bind(second, cs.select_jump({"back": first, "exit": None}))
    with pytest.raises(cs.StaticGraphError) as caught:
        run(first, tier=tier)
    says(
        caught.value,
        f"second (declared at {place(line_of('second = add'))}) is a state of the loop of",
        f"first (declared at {place(line_of('first = other'))}) and waits for its value",
        "needs:  first -> second",
        "jumps:  first =[on]=> second",
        "Send the value along instead: in first, return cs.Jump(key, data={...}) with the arguments of second by name",
    )


@every_tier
def test_a_missing_resource(tier: Tier) -> None:
    @cs.task
    def ask(it: Any = cs.inject("databse")) -> Any:
        return it

    @cs.resource
    def database() -> Iterator[int]:
        yield 1

    target = ask()
    with pytest.raises(cs.ResourceNotFoundError) as caught:
        run(target, tier=tier)
    says(
        caught.value,
        f"ask#1 (declared at {place(line_of('target = ask'))}) asks for the resource 'databse', which nobody provides",
        "(there are: none); give it with resources=[...] or engine.register(...)",
    )
    with pytest.raises(cs.ResourceNotFoundError) as caught:
        cs.run(target, resources=[database], log_level="SILENT")
    says(caught.value, "did you mean 'database'? (there are: database)")


def test_a_resource_that_is_no_generator() -> None:
    def connect() -> int:
        return 1

    where = place(connect.__code__.co_firstlineno)
    with pytest.raises(TypeError) as caught:
        cs.resource(connect)  # type: ignore[arg-type]
    says(
        caught.value,
        "a resource is a generator function that yields once (set up, yield it, tear down)",
        f"which 'connect' ({where}) is not",
    )
    wrong: Any = connect
    with pytest.raises(TypeError) as caught:
        cs.run(add(1), resources=[wrong], log_level="SILENT")
    says(caught.value, f"declared with @cs.resource, which 'connect' ({where}) is not; put it above its def")
    with pytest.raises(TypeError) as caught:
        cs.inject(wrong)
    says(caught.value, f"cs.inject takes a resource or its name, not 'connect' ({where}); declare it with @cs.resource")


@pytest.mark.parametrize(
    ("use", "word", "instead"),
    [
        (lambda lazy: 1 if lazy else 2, "used as a condition", "use `.run_if(...)` or cs.Router"),
        (lambda lazy: not lazy, "used as a condition", "use `.run_if(...)` or cs.Router"),
        (lambda lazy: [x + 1 for x in lazy], "iterated", "use `task.map(name=it)`"),
        (lambda lazy: [*lazy], "iterated", "use `task.map(name=it)`"),
        (lambda lazy: len(lazy), "measured with len()", "pass it to a task"),
        (lambda lazy: lazy < 3, "compared by order", "pass it to a task"),
        (lambda lazy: 3 in lazy, "searched with `in`", "pass it to a task"),
        (lambda lazy: lazy[0], "indexed", "pass it to a task"),
    ],
)
def test_a_lazy_result_used_in_if_or_for(use: Callable[[Any], Any], word: str, instead: str) -> None:
    lazies: list[Any] = [add(1), add.map(x=[1]), cs.Param("p"), cs.Router("a", {"a": 1}), cs.subflow(add(1))]
    for lazy in lazies:
        with pytest.raises(TypeError) as caught:
            use(lazy)
        says(
            caught.value,
            f"declared at {__file__}:",
            f"has no value before the graph runs, so it cannot be {word}",
            instead,
        )
        points_here(caught.value)


# --- running


def names_the_task(error: BaseException, name: str, line: int) -> None:
    says(error, f"in task {name}#1 (declared at {place(line)}), iteration 0, attempt 1")


@every_tier
def test_an_async_task_that_raises(tier: Tier) -> None:
    @cs.task
    async def fetch(url: str) -> str:
        await asyncio.sleep(0)
        raise ConnectionError(f"cannot reach {url}")

    target = fetch("here")
    with pytest.raises(ConnectionError, match="cannot reach here") as caught:
        run(other(target), tier=tier)
    names_the_task(caught.value, "fetch", line_of("target = fetch"))


@every_tier
def test_a_thread_task_that_raises(tier: Tier) -> None:
    @cs.task(mode="blocking")
    def fetch(url: str) -> str:
        raise ConnectionError(f"cannot reach {url}")

    target = fetch("here")
    with pytest.raises(ConnectionError, match="cannot reach here") as caught:
        run(other(target), tier=tier)
    names_the_task(caught.value, "fetch", line_of("target = fetch"))


@every_tier
@pytest.mark.parametrize("mode", ["inline", "blocking", "auto"])
def test_a_task_that_raises_stop_iteration(mode: Any, tier: Tier) -> None:
    @cs.task(mode=mode)
    def first(items: list[int]) -> int:
        return next(iter(items))

    target = first([])
    with pytest.raises(RuntimeError) as caught:
        run(target, tier=tier)
    says(
        caught.value,
        "a task raised StopIteration, which cannot cross an await; catch it in the task (next() takes a default)",
    )
    names_the_task(caught.value, "first", line_of("target = first"))
    assert isinstance(caught.value.__cause__, StopIteration)


@every_tier
@pytest.mark.parametrize("mode", ["inline", "blocking", "auto"])
def test_a_task_that_raises_keyboard_interrupt(mode: Any, tier: Tier) -> None:
    @cs.task(mode=mode)
    def give_up() -> None:
        raise KeyboardInterrupt("by hand")

    target = give_up()
    with pytest.raises(KeyboardInterrupt, match="by hand") as caught:
        run(target, tier=tier)
    names_the_task(caught.value, "give_up", line_of("target = give_up"))


@every_tier
@pytest.mark.parametrize("mode", ["inline", "blocking", "auto"])
def test_a_task_that_raises_cancelled_error(mode: Any, tier: Tier) -> None:
    @cs.task(mode=mode)
    def give_up() -> None:
        raise asyncio.CancelledError("by hand")

    target = give_up()
    with pytest.raises(asyncio.CancelledError) as caught:
        run(target, tier=tier)
    names_the_task(caught.value, "give_up", line_of("target = give_up"))


CTRL_C = """
import asyncio, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have had it ignored
import cascade as cs

def say(word):
    print(word, flush=True)

@cs.resource
def thing():
    try:
        yield "thing"
    finally:
        say("torn down")

@cs.task
async def wait(it=cs.inject(thing)):
    say("ready")
    await asyncio.Event().wait()

@cs.task(mode="inline")
def spin(n, it=None):
    if n == 1000:
        say("ready")
    return cs.Jump("again", {"n": n + 1})

@cs.task(mode="blocking")
def block(it=cs.inject(thing)):
    say("ready")
    threading.Event().wait(2)

@cs.task
async def pass_on(it=cs.inject(thing)):
    return it

def loop():
    step = spin(0, pass_on())
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}))

async def engine_run(target):
    async with cs.Engine() as engine:
        engine.bus.subscribe(cs.Event, lambda event: say(type(event).__name__ + " " + getattr(event, "status", "")))
        await engine.run(target)

target = {"wait": wait, "loop": loop, "block": block}[sys.argv[1]]()
try:
    if sys.argv[2] == "cs.run":
        cs.run(target)
    else:
        asyncio.run(engine_run(target))
finally:
    say("left")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
@pytest.mark.parametrize("way", ["cs.run", "asyncio.run"])
@pytest.mark.parametrize("place", ["wait", "loop", "block"])
def test_ctrl_c_in_the_middle(place: str, way: str) -> None:
    command = [sys.executable, "-P", "-W", "error", "-c", CTRL_C, place, way]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    with process:
        try:
            for line in process.stdout:
                lines.append(line.strip())
                if lines[-1] == "ready":
                    os.kill(process.pid, signal.SIGINT)
                    break
            rest, errors = process.communicate(timeout=50)
        finally:
            process.kill()  # whatever came of it, it is not left behind
    lines += rest.split("\n")
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT), errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert lines.count("torn down") == 1 or place == "block"
    assert "left" in lines
    if way == "cs.run":
        assert "run cancelled after" in errors
    else:
        assert "RunFinished Cancelled" in lines
    assert "never" not in errors
