"""Random programs: recipes, which are plain data, and the declarations that are built from them.

A recipe is a list of steps, each of which may read what the steps before it made. Fresh declarations can be built
from it any number of times; every body is a function of its arguments alone and gives a value that shows them.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from random import Random
from typing import Any, NamedTuple, TypeAlias, TypeVar
from zlib import crc32

from hypothesis import strategies as st

import cascade as cs
from tests.oracle import parameters

__all__ = [
    *(
        "HANDOVERS",
        "Boom",
        "Builder",
        "Built",
        "Recipe",
        "Recorder",
        "build",
        "fixed_recipes",
        "nested_recipes",
        "parts",
    ),
    "recipes",
]

T = TypeVar("T")

# --- recipes


class Part:
    """A part of a recipe; its repr leaves out what is as usual."""

    def __repr__(self) -> str:
        listed: Any = fields(self)  # type: ignore[arg-type]
        shown = [(each.name, getattr(self, each.name), each.default) for each in listed]
        return f"{type(self).__name__}({', '.join(f'{n}={value!r}' for n, value, usual in shown if value != usual)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(frozen=True, repr=False)
class Ref(Part):
    """What an earlier step made."""

    at: int


@dataclass(frozen=True, repr=False)
class Box(Part):
    """A container: "list", "tuple", "dict" or "point"."""

    kind: str
    items: tuple[Expr, ...]


@dataclass(frozen=True, repr=False)
class Wrapped(Part):
    """A `cs.Value`."""

    value: int | str | None


@dataclass(frozen=True, repr=False)
class Supplied(Part):
    """What a resource gives, as an argument of a call."""

    scope: str


Expr: TypeAlias = "Ref | Box | Wrapped | Supplied | int | float | str | bool | None"
Named: TypeAlias = "tuple[tuple[str, Expr], ...]"
Maybe: TypeAlias = "tuple[Expr, ...]"
"""One expression, or none."""


class Point(NamedTuple):
    """A named tuple to nest lazy results in."""

    x: Any
    y: Any


class Words(dict[str, Any]):
    """A subclass of dict, for the data of a jump."""


class Leap(cs.Jump):
    """A subclass of Jump."""


class Handover(cs.TailCall):
    """A subclass of TailCall."""


@cs.resource(scope="run")
def run_supply() -> Iterator[str]:
    """What is there once a run."""
    yield "run"


@cs.resource(scope="task")
async def task_supply() -> AsyncIterator[str]:
    """What each call has for itself."""
    yield "task"


@dataclass(frozen=True, repr=False)
class Body(Part):
    """What a task does: what kind of value it gives, where it runs, which arguments it takes, whether it fails."""

    kind: str = "text"
    style: str = "inline"
    shape: str = "abc"
    trouble: str = ""


@dataclass(frozen=True, repr=False)
class Gate(Part):
    """What is configured on a node."""

    condition: Maybe = ()
    otherwise: Maybe = ()
    after: tuple[int, ...] = ()
    retry: bool = False
    limited: bool = False
    timed: bool = False
    hooked: bool = False


@dataclass(frozen=True, repr=False)
class Call(Part):
    """A call; those with the same `pure` number are of one pure task."""

    body: Body
    args: tuple[Expr, ...] = ()
    kwargs: Named = ()
    gate: Gate = Gate()
    pure: int | None = None


@dataclass(frozen=True, repr=False)
class Given(Part):
    """A parameter, or a variable of the environment that is not set."""

    name: str
    default: int | str | bool
    env: bool = False


@dataclass(frozen=True, repr=False)
class Choice(Part):
    """A router."""

    selector: Expr
    routes: tuple[tuple[int | str | bool, Expr], ...]
    default: Maybe = ()


@dataclass(frozen=True, repr=False)
class Each(Part):
    """A map."""

    body: Body
    each: Named
    same: Named = ()
    concurrency: int | None = None
    gate: Gate = Gate()


@dataclass(frozen=True, repr=False)
class Inner(Part):
    """A sub-flow."""

    target: Expr
    params: Named = ()
    gate: Gate = Gate()


@dataclass(frozen=True, repr=False)
class InOrder(Part):
    """A sequence of earlier steps."""

    steps: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class Pipe(Part):
    """A pipeline."""

    initial: Expr
    steps: tuple[tuple[Body, Gate], ...]


@dataclass(frozen=True, repr=False)
class Move(Part):
    """What a state returns: a Jump with a key and a kind of data, a TailCall ("tail..."), or a value ("return").

    A TailCall to a blueprint is a "hand...", whose key is the id.
    """

    how: str
    key: str = ""
    made: str = ""
    """As a "leap", or "kept" to be returned again; with an id that is "anew" another object each time."""


@dataclass(frozen=True, repr=False)
class State(Part):
    """A state of a loop: while its first argument counts down it makes its moves in turn, then the last one."""

    body: Body
    start: Expr
    moves: tuple[Move, ...]
    end: Move
    routes: tuple[tuple[str, str | int | None], ...]
    """Key to another state ("state 1"), an earlier step, or the way out."""
    by_name: bool = False
    others: tuple[Expr, ...] = ()
    kwargs: Named = ()
    each: bool = False
    concurrency: int | None = None
    most: int | None = None
    gate: Gate = Gate()


@dataclass(frozen=True, repr=False)
class Machine(Part):
    """Loops that may lead into each other; makes as many values as it has states."""

    states: tuple[State, ...]


Step: TypeAlias = "Call | Given | Choice | Each | Inner | InOrder | Pipe | Machine"


@dataclass(frozen=True, repr=False)
class Recipe(Part):
    """A program: its steps, what to run of it, and its parameters."""

    steps: tuple[Step, ...]
    target: Expr
    params: Named = ()
    blueprints: tuple[Recipe, ...] = ()
    """What tail calls lead to by the ids "g0", "g1", and so on."""


# --- building


class Boom(Exception):
    """What a failing body raises."""


class Untrue:
    """A value whose truth cannot be told."""

    def __bool__(self) -> bool:
        raise Boom("truth")

    def __repr__(self) -> str:
        return "Untrue()"


class Recorder:
    """Counts the calls of bodies by label, in whichever thread they are made."""

    def __init__(self, most_calls: int = 2000) -> None:
        self.calls: Counter[str] = Counter()
        self.seen: Counter[tuple[str, str]] = Counter()
        self.most_calls = most_calls
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget all calls."""
        self.calls.clear()
        self.seen.clear()

    def enter(self, label: str, given: dict[str, Any], trouble: str) -> int:
        """Count a call; raise if it is to fail. Return a number that is made of its arguments."""
        spelled = repr(given)
        with self._lock:
            self.calls[label] += 1
            self.seen[label, spelled] += 1
            again = self.seen[label, spelled] > 1
            endless = self.calls.total() > self.most_calls
        if endless:
            raise AssertionError(f"{label} was called without end")
        mark = crc32(f"{label}{spelled}".encode())
        if trouble == "always" or (trouble == "first" and not again) or (trouble == "some" and mark % 3 == 0):
            raise Boom(f"{label} {spelled}")
        return mark


@dataclass
class Built:
    """Fresh declarations of a recipe."""

    target: Any
    params: dict[str, Any]
    recorder: Recorder
    pool: list[Any] = field(default_factory=list)
    blueprints: dict[str, Any] = field(default_factory=dict)


OMITTED = object()


def given_of(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not OMITTED}


def shaped(shape: str, do: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    """Return a function that takes the arguments that `shape` says."""

    def none() -> Any:
        return do({})

    def abc(a: Any = OMITTED, b: Any = OMITTED, c: Any = OMITTED) -> Any:
        return do(given_of(a=a, b=b, c=c))

    def ak(a: Any = OMITTED, *, k: Any = OMITTED) -> Any:
        return do(given_of(a=a, k=k))

    def abr(a: Any = OMITTED, b: Any = OMITTED, r: Any = cs.inject(run_supply)) -> Any:
        return do(given_of(a=a, b=b, r=r))

    def var(*args: Any, **kwargs: Any) -> Any:
        return do({**{str(at): value for at, value in enumerate(args)}, **dict(sorted(kwargs.items()))})

    found: dict[str, Callable[..., Any]] = {"none": none, "abc": abc, "ak": ak, "abr": abr, "var": var}
    return found[shape]


def shaped_async(shape: str, do: Callable[[dict[str, Any]], Any], turns: int) -> Callable[..., Any]:
    """Do the same for a coroutine function, which first waits for fewer turns of the loop than `turns`."""

    async def wait(*given: Any) -> None:
        for _ in range(crc32(repr(given).encode()) % turns):
            await asyncio.sleep(0)

    async def none() -> Any:
        await wait()
        return do({})

    async def abc(a: Any = OMITTED, b: Any = OMITTED, c: Any = OMITTED) -> Any:
        await wait(given_of(a=a, b=b, c=c))
        return do(given_of(a=a, b=b, c=c))

    async def ak(a: Any = OMITTED, *, k: Any = OMITTED) -> Any:
        await wait(given_of(a=a, k=k))
        return do(given_of(a=a, k=k))

    async def abr(a: Any = OMITTED, b: Any = OMITTED, r: Any = cs.inject(run_supply)) -> Any:
        await wait(given_of(a=a, b=b, r=r))
        return do(given_of(a=a, b=b, r=r))

    async def var(*args: Any, **kwargs: Any) -> Any:
        await wait(args)
        return do({**{str(at): value for at, value in enumerate(args)}, **dict(sorted(kwargs.items()))})

    found: dict[str, Callable[..., Any]] = {"none": none, "abc": abc, "ak": ak, "abr": abr, "var": var}
    return found[shape]


def task_of(body: Body, label: str, do: Callable[[dict[str, Any]], Any], pure: bool = False) -> Any:
    """Make a task."""
    if body.style in ("async", "sleepy"):
        func = shaped_async(body.shape, do, 5 if body.style == "sleepy" else 1)
    elif body.style == "coroutine":
        inner = shaped_async(body.shape, do, 3)

        def start(*args: Any, **kwargs: Any) -> Any:
            return inner(*args, **kwargs)

        start.__signature__ = inspect.signature(inner)  # type: ignore[attr-defined]
        func = start
    else:
        func = shaped(body.shape, do)
    if body.kind == "items" and body.style != "coroutine" and crc32(label.encode()) % 2:
        func = yielding(func)
    mode: Any = body.style if body.style in ("auto", "blocking") else "inline"
    return cs.task(name=label, pure=pure, mode=mode)(func)


def yielding(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return a generator function that gives the items of the list that a function returns."""
    if inspect.iscoroutinefunction(func):

        async def give_later(*args: Any, **kwargs: Any) -> Any:
            for item in await func(*args, **kwargs):
                yield item

        give: Any = give_later
    else:

        def give_now(*args: Any, **kwargs: Any) -> Any:
            yield from func(*args, **kwargs)

        give = give_now
    give.__signature__ = inspect.signature(func)
    return give  # type: ignore[no-any-return]


def value_of(kind: str, label: str, mark: int, given: dict[str, Any]) -> Any:
    """Return what a body of some kind gives."""
    match kind:
        case "bit":
            return mark & 1
        case "key":
            return mark % 3
        case "items":
            return list(range(mark % 4))
        case "none":
            return None
        case "pair":
            return (label, mark % 5)
        case "untrue":
            return Untrue()
        case "jump":
            return cs.Jump("nowhere")
    return f"{label}~{mark & 0xFFFF:04x}"


def turning_of(kind: str, label: str, count: int) -> Any:
    """Return what a body gives that gives something else after some calls."""
    if kind == "turning bit":
        return count % 23 != 22
    if kind == "turning key":
        return count // 5 % 3
    return (label, count, None, [count], {"count": count})[count // 6 % 5]


def signal_of(move: Move, label: str, n: Any, mark: int) -> Any:
    """Return what a state gives."""
    less = n - 1 if type(n) is int else 0
    named: dict[str, Any] = {"a": less}
    data: dict[str, Any] = {
        "none": None,
        "value": less,
        "text": f"{label}~{mark & 0xFF:02x}",
        "named": named,
        "both": {"b": f"b{less}", **named},
        "subclass": Words(named),
        "other": {"b": less},
        "wrapped": cs.Value(less),
        "wrapped dict": cs.Value({"n": less}),
        "wrapped none": cs.Value(None),
    }
    match move.how:
        case "return":
            return f"{label}~{mark & 0xFFFF:04x}"
        case "tail":
            return cs.TailCall(args=[less])
        case "tail named":
            return cs.TailCall(kwargs={"a": less})
        case "tail both":
            return cs.TailCall([less], {"b": f"b{less}"})
    if move.how.startswith("hand"):
        key = "".join(list(move.key)) if move.made == "anew" else move.key
        kind = Handover if move.made == "leap" else cs.TailCall
        if move.how == "hand named":
            return kind([], named, key)
        return kind([less], None, key) if move.how == "hand" else kind((less,), {"b": f"b{less}"}, key)
    return (Leap if move.made == "leap" else cs.Jump)(move.key, data[move.how])


def build(recipe: Recipe) -> Built:
    """Make fresh declarations."""
    return Builder(recipe).build()


class Builder:
    """Builds the declarations of a recipe."""

    def __init__(self, recipe: Recipe, recorder: Recorder | None = None, prefix: str = "") -> None:
        self.recipe = recipe
        self.recorder = Recorder() if recorder is None else recorder
        self.prefix = prefix
        self.pool: list[Any] = []
        self.pure: dict[int, Any] = {}

    def build(self) -> Built:
        for at, step in enumerate(self.recipe.steps):
            self.pool += self.made(at, step)
        target = self.value(self.recipe.target)
        used = parameters(target)
        params = {name: self.value(value) for name, value in self.recipe.params if name in used}
        built = Built(target, params, self.recorder, self.pool)
        for at, recipe in enumerate(self.recipe.blueprints):
            built.blueprints[f"g{at}"] = Builder(recipe, self.recorder, f"g{at}_").build().target
        return built

    def value(self, expr: Expr) -> Any:
        match expr:
            case Ref(at):
                return self.pool[at]
            case Wrapped(value):
                return cs.Value(value)
            case Supplied(scope):
                return cs.inject(run_supply if scope == "run" else task_supply)
            case Box(kind, items):
                values = [self.value(item) for item in items]
                if kind == "list":
                    return values
                if kind == "dict":
                    return {f"k{at}": value for at, value in enumerate(values)}
                return Point(*values[:2]) if kind == "point" and len(values) > 1 else tuple(values)
        return expr

    def named(self, pairs: Named) -> dict[str, Any]:
        return {name: self.value(expr) for name, expr in pairs}

    def made(self, at: int, step: Step) -> list[Any]:
        match step:
            case Call():
                args = [self.value(expr) for expr in step.args]
                task = self.task(step, f"n{at}" if step.pure is None else f"p{step.pure}")
                return [self.configured(task(*args, **self.named(step.kwargs)), step.gate)]
            case Given():
                return [cs.Env("CASCADE_NOT_SET", default=7) if step.env else cs.Param(step.name, step.default, object)]
            case Choice():
                routes = {key: self.value(expr) for key, expr in step.routes}
                default = {"default": self.value(step.default[0])} if step.default else {}
                return [cs.Router(self.value(step.selector), routes, **default)]
            case Each():
                task = self.plain_task(step.body, f"m{at}").partial(**self.named(step.same))
                mapped = task.map(concurrency=step.concurrency, **self.named(step.each))
                return [self.configured(mapped, step.gate)]
            case Inner():
                target = self.value(step.target)
                known = parameters(target)
                params = {name: value for name, value in self.named(step.params).items() if name in known}
                return [self.configured(cs.subflow(target, params), step.gate)]
            case InOrder():
                return [cs.sequence([self.pool[each] for each in step.steps])]
            case Pipe():
                return [cs.pipeline(self.value(step.initial), self.pipes(at, step))]
            case Machine():
                return self.machine(at, step)

    def task(self, step: Call, label: str) -> Any:
        if step.pure is None:
            return self.plain_task(step.body, label)
        if step.pure not in self.pure:
            self.pure[step.pure] = self.plain_task(step.body, label, pure=True)
        return self.pure[step.pure]

    def plain_task(self, body: Body, label: str, pure: bool = False) -> Any:
        recorder, label = self.recorder, self.prefix + label

        def do(given: dict[str, Any]) -> Any:
            mark = recorder.enter(label, given, body.trouble)
            if body.kind.startswith("turning"):
                return turning_of(body.kind, label, recorder.calls[label])
            return value_of(body.kind, label, mark, given)

        return task_of(body, label, do, pure)

    def pipes(self, at: int, step: Pipe) -> list[Any]:
        def piped(task: Any, gate: Gate) -> Any:
            return lambda value: self.configured(task(value), gate)

        return [piped(self.plain_task(body, f"n{at}_{i}"), gate) for i, (body, gate) in enumerate(step.steps)]

    def machine(self, at: int, step: Machine) -> list[Any]:
        states = []
        for i, state in enumerate(step.states):
            task = self.state_task(state, f"s{at}_{i}")
            others = [self.value(expr) for expr in state.others]
            kwargs = self.named(state.kwargs)
            start = self.value(state.start)
            if state.each:
                fixed = dict(zip("bc", others, strict=False)) | kwargs
                node = task.partial(**fixed).map(a=start, concurrency=state.concurrency)
            elif state.by_name:
                node = task(a=start, **dict(zip("bc", others, strict=False)), **kwargs)
            else:
                node = task(start, *others, **kwargs)
            states.append(self.configured(node, state.gate))
        for node, state in zip(states, step.states, strict=True):
            if state.routes:
                routes = {key: self.route(states, target) for key, target in state.routes}
                history = state.most is not None and state.most % 2 == 0
                checkpoint: Any = None if history or len(state.routes) % 2 else "turn"
                cs.bind(node, cs.select_jump(routes), max_iterations=state.most, history=history, checkpoint=checkpoint)
        return states

    def route(self, states: list[Any], target: str | int | None) -> Any:
        if isinstance(target, str):
            return states[int(target.split()[1])]
        return None if target is None else self.pool[target]

    def state_task(self, state: State, label: str) -> Any:
        recorder, label = self.recorder, self.prefix + label
        kept: dict[tuple[Move, Any], Any] = {}

        def do(given: dict[str, Any]) -> Any:
            mark = recorder.enter(label, given, state.body.trouble)
            n = given.get("a", given.get("0"))
            move = state.moves[(n - 1) % len(state.moves)] if type(n) is int and n > 0 and state.moves else state.end
            signal = signal_of(move, label, n, mark)
            return (
                kept.setdefault((move, n), signal)
                if move.made == "kept" and move.how in (*MOVES, *HANDOVERS)
                else signal
            )

        return task_of(state.body, label, do)

    def configured(self, node: Any, gate: Gate) -> Any:
        if gate.condition:
            otherwise = {"otherwise": self.value(gate.otherwise[0])} if gate.otherwise else {}
            node.run_if(self.value(gate.condition[0]), **otherwise)
        if gate.after:
            node.after(*[self.pool[at] for at in gate.after])
        if gate.retry:
            node.with_retry(max_attempts=2)
        if gate.limited:
            node.with_constraints(slot=1)
        if gate.timed:
            node.with_timeout(1000)
        if gate.hooked:
            node.with_hooks(on_failure=heard, on_success=heard)
        return node


async def heard(outcome: cs.Outcome) -> None:
    """Hear of an outcome, which changes nothing."""


def parts(part: Any) -> Iterator[Ref]:
    """Find the references to earlier steps in a part of a recipe."""
    if isinstance(part, Ref):
        yield part
    elif isinstance(part, InOrder):
        yield from map(Ref, part.steps)
    elif isinstance(part, tuple):
        for item in part:
            yield from parts(item)
    elif is_dataclass(part) and not isinstance(part, Body):
        for each in fields(part):
            yield from parts(getattr(part, each.name))


# --- drawing


PARAMS: dict[str, int | str | bool] = {"p0": 0, "p1": True, "p2": "text", "p3": 1}
STYLES = ("inline", "inline", "inline", "async", "sleepy", "auto", "blocking", "coroutine")
KINDS = ("text", "text", "bit", "bit", "key", "items", "none", "pair")
MOVES = ("named", "value", "both", "wrapped", "subclass", "tail", "tail named", "tail both", "none")
HANDOVERS = ("hand", "hand named", "hand both")
ENDS = ("return", "return", "exit", "exit", "leave", "leave", "state")
EXIT_DATA = ("none", "text", "named", "wrapped none", "wrapped dict", "other")


@dataclass
class _Known:
    """What is known of one value of the pool while drawing."""

    what: str
    """The class of the step."""
    kind: str
    """What its value is like."""
    group: int
    """States of one machine have one number; an alias has that of the original."""
    gated: bool = False
    """It may be skipped."""
    hidden: bool = False
    """Only a certain reader may read it: what it gives depends on how often it was called."""


class _Drawer:
    """Makes one recipe out of choices among so many things."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.choose = choose
        self.pool: list[_Known] = []
        self.steps: list[Step] = []
        self.troubles = self.one_in(4)
        self.skips = not self.one_in(3)
        """Without anything to skip, loops of plain calls become emitted ones."""
        self.often = (3, 3, 12) if self.one_in(2) else (12, 24, 48)
        """Half of the programs have as many calls under policies as others; the rest has some."""
        self.modes = STYLES if self.one_in(2) else STYLES[:5]

    # small choices

    def pick(self, options: Sequence[T]) -> T:
        return options[self.choose(len(options))]

    def one_in(self, n: int) -> bool:
        return self.choose(n) == n - 1

    def number(self, most: int, least: int = 0) -> int:
        return least + self.choose(most - least + 1)

    def refs(self, *kinds: str) -> list[int]:
        return [at for at, known in enumerate(self.pool) if not known.hidden and (not kinds or known.kind in kinds)]

    def results(self) -> list[int]:
        return [at for at in self.refs() if self.pool[at].what not in ("Given", "Choice")]

    def constant(self) -> Expr:
        return self.pick((0, 1, "x", None, True, 2.5))

    def ref(self, *kinds: str) -> Expr:
        """Refer to an earlier value, preferably of one of these kinds, preferably a late one."""
        found = self.refs(*kinds) or self.refs()
        if not found:
            return self.constant()
        return Ref(found[-1 - min(self.number(len(found) - 1), self.number(len(found) - 1))])

    def argument(self, depth: int = 0) -> Expr:
        choice = self.number(9)
        if choice < 6:
            return self.ref()
        if choice < 8 or depth > 1:
            return self.constant() if depth or not self.one_in(6) else Wrapped(3)
        items = tuple(self.argument(depth + 1) for _ in range(self.number(3, 1)))
        return Box(self.pick(("list", "tuple", "dict", "point")), items)

    def passed(self) -> Expr:
        """Choose an argument of a call, which may be a resource."""
        return Supplied(self.pick(("run", "task"))) if self.one_in(12) else self.argument()

    def body(self, shapes: Sequence[str] = ("abc", "abc", "var")) -> Body:
        kind = self.pick(KINDS)
        trouble = ""
        if self.troubles and self.one_in(8):
            trouble = self.pick(("always", "always", "some"))
            if self.one_in(4):
                trouble, kind = "", self.pick(("untrue", "jump"))
        return Body(kind, self.pick(self.modes), self.pick(shapes), trouble)

    def condition(self) -> Expr:
        gated = [at for at in self.refs() if self.pool[at].gated]
        if gated and self.one_in(3):
            return Ref(self.pick(gated))
        if self.one_in(8):
            return self.doubtful()
        return self.pick((self.ref("bit", "param", "router"), self.ref("bit"), False, self.ref(), True))

    def fresh(self) -> Expr:
        """Add a call that nobody else reads so far."""
        args = (self.argument(),) if self.one_in(2) else ()
        self.add(Call(Body(self.pick(KINDS), self.pick(self.modes)), args), "text")
        return Ref(len(self.pool) - 1)

    def doubtful(self) -> Expr:
        """Add a call that may be skipped, and then passes on what it was given."""
        gate = Gate((self.pick((False, self.ref("bit"))),))
        self.add(Call(Body(self.pick(("bit", "key"))), (self.ref(),), gate=gate), "bit")
        return Ref(len(self.pool) - 1)

    def gate(self, *, policies: bool = True) -> Gate:
        condition: Maybe = ()
        otherwise: Maybe = ()
        if self.skips and self.one_in(3):
            condition = (self.condition(),)
            if self.one_in(2):
                otherwise = (self.fresh() if policies and self.one_in(3) else self.argument(),)
        after: tuple[int, ...] = ()
        if self.refs() and self.one_in(5):
            after = tuple({self.pick(self.refs()) for _ in range(self.number(2, 1))})
        retry, limited, timed = (policies and self.one_in(n) for n in self.often)
        return Gate(condition, otherwise, after, retry, limited, timed, policies and self.one_in(40))

    # steps

    def add(self, step: Step, kind: str, group: int | None = None) -> None:
        self.steps.append(step)
        group = len(self.pool) if group is None else group
        gate = step.steps[-1][1] if isinstance(step, Pipe) else getattr(step, "gate", Gate())
        self.pool.append(_Known(type(step).__name__, kind, group, bool(gate.condition)))

    def call(self) -> None:
        body, gate = self.body(), self.gate()
        if gate.retry and not self.one_in(3):
            body = Body(body.kind, body.style, body.shape, "first")
        if self.one_in(5):
            body = Body(body.kind, body.style, self.pick(("none", "ak")), body.trouble)
        elif self.one_in(4):
            body = Body(body.kind, body.style, "abr", body.trouble)
        args: tuple[Expr, ...] = ()
        kwargs: Named = ()
        if body.shape != "none":
            args = tuple(self.passed() for _ in range(self.number({"ak": 1, "abr": 2}.get(body.shape, 3))))
            if self.one_in(4):
                left = "abc" if body.shape == "abc" else "ab"
                free = {"ak": ("a", "k") if not args else ("k",), "var": "bd"}.get(body.shape, left[len(args) :])
                kwargs = tuple((name, self.passed()) for name in free if self.one_in(2))
        self.add(Call(body, args, kwargs, gate), body.kind)

    def pure(self) -> None:
        """Add a call of a pure task, often equal to one before."""
        before = [step for step in self.steps if isinstance(step, Call) and step.pure is not None]
        if before and self.one_in(2):
            twin = self.pick(before)
            self.add(twin, twin.body.kind)
            return
        number = self.number(2)
        body = next((step.body for step in before if step.pure == number), None) or self.body(("abc",))
        givens: tuple[Expr, ...] = (*(Ref(at) for at in self.refs("param", "pure")), 1, "x", Box("list", (1, True)))
        args = tuple(self.pick(givens) if not self.one_in(3) else self.argument() for _ in range(self.number(2)))
        gate = self.gate(policies=False) if self.one_in(4) else Gate()
        self.add(Call(body, args, (), gate, number), "pure")

    def given(self) -> None:
        name = self.pick(tuple(PARAMS))
        self.add(Given(name, PARAMS[name], self.one_in(6)), "param")

    def router(self) -> None:
        selector = self.pick((self.ref("key"), self.ref("key", "bit"), self.ref("param"), self.number(2)))
        selector = self.doubtful() if self.skips and self.one_in(8) else selector
        count = self.number(3, 1)
        routes = tuple((key, self.fresh() if self.one_in(3) else self.argument()) for key in range(count))
        complete = len(routes) == 3 and isinstance(selector, Ref) and self.pool[selector.at].kind == "key"
        needs_default = not complete and not (self.troubles and self.one_in(3))
        default = (self.argument(),) if needs_default or self.one_in(3) else ()
        self.add(Choice(selector, routes, default), "router")

    def mapped(self) -> None:
        body, gate = self.body(("abc", "abc", "ak")), self.gate()
        each: Named
        if self.one_in(2) and self.refs("items", "list"):
            each = (("a", self.ref("items", "list")),)
        else:
            names = ("a", "b") if body.shape == "abc" and self.one_in(3) else ("a",)
            count = self.number(3)
            each = tuple((name, Box("list", tuple(self.argument(1) for _ in range(count)))) for name in names)
        same: Named = (("c" if body.shape == "abc" else "k", self.argument()),) if self.one_in(3) else ()
        concurrency = self.number(3, 1) if self.one_in(3) else None
        self.add(Each(body, each, same, concurrency, gate), "list")

    def inner(self) -> None:
        target = self.ref()
        if self.one_in(3):
            target = Box(self.pick(("list", "dict")), (target, self.ref()))
        if not any(isinstance(each, Ref) for each in (target, *(target.items if isinstance(target, Box) else ()))):
            return
        if self.one_in(2):
            self.given()
            target = Box("list", (target, Ref(len(self.pool) - 1)))
        params = tuple((name, self.argument()) for name in PARAMS if self.one_in(2))
        self.add(Inner(target, params, self.gate(policies=False)), "any")

    def in_order(self) -> None:
        found = self.results()
        picked: dict[int, int] = {}
        for _ in range(self.number(3, 2)):
            if found:
                at = self.pick(found)
                picked.setdefault(self.pool[at].group, at)
        if picked:
            groups = sorted(picked)
            last = self.pool[picked[groups[-1]]]
            self.add(InOrder(tuple(picked[group] for group in groups)), last.kind, groups[-1])

    def pipe(self) -> None:
        count = self.number(3, 1)
        steps = tuple((self.body(("abc",)), self.gate()) for _ in range(count))
        self.add(Pipe(self.argument(), steps), steps[-1][0].kind)

    # loops

    def machine(self) -> None:
        count = self.pick((1, 1, 2, 2, 3) if self.skips else (1, 1, 1, 1, 2))
        tails_only = count == 1 and self.one_in(6)
        maps = [self.one_in(5) for _ in range(count)]
        states = tuple(self.state(at, count, maps, tails_only) for at in range(count))
        group = len(self.pool)
        self.steps.append(Machine(states))
        for state in states:
            self.pool.append(_Known("Machine", "list" if state.each else "text", group, bool(state.gate.condition)))

    def turning(self) -> None:
        """Add a loop that is fed with something else in each entry, read by nobody but the target."""
        first = len(self.pool)

        def add(kind: str, args: tuple[Expr, ...] = (), gate: Gate = Gate()) -> Expr:
            self.add(Call(Body(kind, self.pick(self.modes[:5]), "var"), args, (), gate), kind)
            return Ref(len(self.pool) - 1)

        value, bit = add("turning"), add("turning bit")
        condition, otherwise = (bit,) if self.one_in(2) else (), (value,) if self.one_in(2) else ()
        gated = add("text", (value,), Gate(condition, otherwise))
        read = self.pick((value, gated, gated, Box("list", (gated, bit))))
        if self.one_in(2):
            routes = tuple((key, self.pick((value, gated, add("key"), self.argument()))) for key in range(3))
            self.add(Choice(add("turning key"), routes), "any")
            read = Ref(len(self.pool) - 1)
        gate = Gate((gated,), (value,) if self.one_in(2) else ()) if self.one_in(3) else Gate()
        move = Move(self.pick(MOVES[:5]), "to 0", self.pick(("", "leap")))
        moves = (move,) if self.one_in(2) else (move, Move("tail"), move)
        state = State(
            Body("text", self.pick(self.modes[:5])),
            40,
            moves,
            Move("return"),
            (("to 0", "state 0"),),
            others=(read,),
            gate=gate,
        )
        self.steps.append(Machine((state,)))
        self.pool.append(_Known("Machine", "text", len(self.pool), bool(gate.condition)))
        for known in self.pool[first:]:
            known.hidden = True

    def nested(self) -> None:
        """Add a loop that maps and other loops feed, mostly of short functions, read by nobody but the target."""
        first = len(self.pool)
        feeds = tuple(self.pick((self.map_inside, self.loop_inside))() for _ in range(self.number(3, 1)))
        others = feeds if len(feeds) < 3 else (feeds[0], Box("list", feeds[1:]))
        self.loop_of(self.pick((9, 20)), others)
        for known in self.pool[first:]:
            known.hidden = True

    def short(self) -> str:
        """Choose a style that is mostly one of short functions."""
        return self.pick(self.modes[:5]) if self.one_in(6) else "inline"

    def map_inside(self) -> Expr:
        """Add a map, of items that differ from call to call or of those of another map."""
        kinds = ("items", "key", "turning", "turning key", "text")
        made: list[Expr] = []
        for _ in range(self.number(2)):
            self.add(Call(Body(self.pick(kinds), self.short(), "var")), "any")
            made.append(Ref(len(self.pool) - 1))
        each: Named = (("a", Box(self.pick(("list", "tuple")), (*made, *(1, "x", None)[: self.number(3)]))),)
        if made and self.one_in(3):
            self.add(Call(Body("items", self.short(), "var"), tuple(made)), "items")
            each = (("a", Ref(len(self.pool) - 1)),)
        same: Named = (("c", self.pick((*made, 7))),) if self.one_in(3) else ()
        trouble = "some" if self.troubles and self.one_in(8) else ""
        kind = self.pick(("text", "bit", "pair", "turning", "none"))
        style = "inline" if kind == "turning" else self.short()  # its items give what they give in their order
        self.add(Each(Body(kind, style, "abc", trouble), each, same), "list")
        if self.one_in(4):
            self.add(Each(Body("text", self.short(), "abc"), (("a", Ref(len(self.pool) - 1)),)), "list")
        return Ref(len(self.pool) - 1)

    def loop_inside(self) -> Expr:
        """Add a loop that begins with something else each time, or always with the same."""
        start: Expr = self.pick((0, 1, 2, 5))
        if self.one_in(3):
            self.add(Call(Body("turning key", self.short(), "var")), "key")
            start = Ref(len(self.pool) - 1)
        if not self.one_in(4):
            return self.loop_of(start, (7,) * self.number(1))
        self.add(Call(Body(self.pick(KINDS), self.short())), "any")
        return self.loop_of(start, (Ref(len(self.pool) - 1),))

    def loop_of(self, start: Expr, others: tuple[Expr, ...]) -> Expr:
        """Add a loop of one state."""
        how, made = (
            self.pick(("value", "value", "named", "both", "wrapped")),
            self.pick(("", "", "", "", "kept", "leap")),
        )
        move = Move(how, "to 0", made)
        moves = (move,) * self.number(6, 1)
        if self.one_in(4):
            moves += (Move(self.pick(("tail", "named", "value")), "to 0"),)
        end = Move("return") if self.one_in(2) else Move(self.pick(EXIT_DATA), "exit")
        body = Body("text", self.short(), "abc", "some" if self.troubles and self.one_in(20) else "")
        most = 30 if self.one_in(12) else None
        state = State(body, start, moves, end, (("to 0", "state 0"), ("exit", None)), others=others, most=most)
        self.steps.append(Machine((state,)))
        self.pool.append(_Known("Machine", "text", len(self.pool)))
        return Ref(len(self.pool) - 1)

    def state(self, at: int, count: int, maps: list[bool], tails_only: bool) -> State:
        routes: dict[str, str | int | None] = {}
        if not tails_only:
            for other in range(count):
                if count == 1 or other != at or self.one_in(2):
                    routes[f"to {other}"] = f"state {other}"
                    if self.one_in(4):
                        routes[f"again {other}"] = f"state {other}"
            if self.one_in(2) or not routes:
                routes["exit"] = None
            outside = [ref for ref in self.refs() if self.pool[ref].what != "Machine"]
            outside = [ref for ref in outside if self.pool[self.pool[ref].group].what != "Machine"]
            if outside and self.one_in(3):
                routes["leave"] = self.pick(outside)
        starts = (0, 1, 2, 2, 3, 5)
        start: Expr = self.pick(starts)
        if count == 1 and not self.skips and self.one_in(2):
            start = self.pick((3, 5, 9, 40))
        if maps[at]:
            start = Box("list", tuple(self.pick(starts) for _ in range(self.number(3))))
            if self.one_in(3) and self.refs("items"):
                start = self.ref("items")
        elif self.one_in(8):
            start = self.ref("bit", "key")
        keys = [key for key in routes if key.startswith(("to ", "again "))]
        moves = tuple(self.move(keys, maps, count) for _ in range(self.number(3, 1) if self.skips else 1))
        moves += moves[-1:] * self.number(2)
        if not self.skips and self.one_in(2):
            moves += (self.move(keys, maps, count),)
        end = self.end(routes, keys)
        if end.key == "exit" and self.one_in(2) and not moves[-1].how.startswith("tail"):
            end = Move(moves[-1].how, "exit")  # a jump that differs from the others in its key alone
        others = tuple(self.feed() for _ in range(self.pick((0, 1, 1, 2))))
        shape = "var" if self.one_in(6) and not maps[at] else "abc"
        kwargs: Named = (("d", self.argument()),) if shape == "var" and self.one_in(2) else ()
        body = Body("text", self.pick(self.modes), shape, "some" if self.troubles and self.one_in(10) else "")
        by_name = shape == "abc" and self.skips and self.one_in(3)
        most = self.number(6, 1) if self.one_in(10) else None
        gate = self.gate() if self.skips or self.one_in(4) else Gate()
        concurrency = self.number(2, 1) if maps[at] and self.one_in(2) else None
        return State(
            body, start, moves, end, tuple(routes.items()), by_name, others, kwargs, maps[at], concurrency, most, gate
        )

    def feed(self) -> Expr:
        return self.ref("pure") if self.refs("pure") and self.one_in(4) else self.passed()

    def move(self, keys: list[str], maps: list[bool], count: int) -> Move:
        how = self.pick(MOVES if self.one_in(2) else MOVES[:5])
        if not keys:
            return Move(how if how.startswith("tail") else "tail")
        key = self.pick(keys)
        if how == "none" and maps[int(key.split()[1])]:
            how = "named"
        if self.troubles and self.one_in(20):
            key = "nowhere"
        return Move(how, key, self.pick(("", "", "", "leap", "kept")))

    def end(self, routes: dict[str, str | int | None], keys: list[str]) -> Move:
        how = self.pick(ENDS)
        if how == "exit" and "exit" in routes:
            return Move(self.pick(EXIT_DATA), "exit")
        if how == "leave" and "leave" in routes:
            target = routes["leave"]
            assert isinstance(target, int)
            step = self.pool[target].what
            takes = step in ("Call", "Pipe")
            return Move(self.pick(EXIT_DATA) if takes and self.one_in(2) else "none", "leave")
        if how == "state" and len(keys) > 1:
            return Move(self.pick(("other", "text", "none")), self.pick(keys))
        return Move("return")

    def relay(self, ids: Sequence[str]) -> None:
        """Add a loop of one state that tail calls lead on from, to blueprints of these ids."""
        routes: tuple[tuple[str, str | int | None], ...] = ()
        if self.one_in(3):
            routes = (("to 0", "state 0"), ("exit", None)) if self.one_in(2) else (("to 0", "state 0"),)
        first = Move(self.pick(HANDOVERS), self.pick(ids), self.pick(("", "", "", "leap", "kept", "anew")))
        moves = [first] * self.number(2, 1)
        for _ in range(self.number(2) if self.one_in(2) else 0):
            key = "nowhere" if self.troubles and self.one_in(12) else self.pick(ids)
            others = [Move(self.pick(HANDOVERS), key), Move(self.pick(("tail", "tail named", "tail both")))]
            others += [Move(self.pick(MOVES[:5]), "to 0")] if routes else []
            moves.append(self.pick(others))
        end = Move(self.pick(EXIT_DATA), "exit") if len(routes) == 2 and self.one_in(2) else Move("return")
        start = self.pick((0, 2, 3, 5, 9, 20, 40))
        body = Body("text", self.pick(self.modes), "abc", "some" if self.troubles and self.one_in(10) else "")
        given = tuple(self.feed() for _ in range(self.pick((0, 0, 1, 1, 2))))
        most = self.number(30, 3) if self.one_in(10) else None
        gate = self.gate() if self.one_in(4) else Gate()
        state = State(body, start, tuple(moves), end, routes, others=given, most=most if routes else None, gate=gate)
        self.steps.append(Machine((state,)))
        self.pool.append(_Known("Machine", "text", len(self.pool), bool(gate.condition)))

    def blueprint(self, ids: Sequence[str], skips: bool) -> Recipe:
        """Return a blueprint that tail calls lead to, and on from to those of these ids."""
        self.skips = self.skips and skips
        makers = (self.call, self.call, self.pure, self.given, self.router)
        for _ in range(self.number(3)):
            self.pick(makers)()
        self.relay(ids)
        return Recipe(tuple(self.steps), Ref(len(self.pool) - 1))

    # the whole

    def target(self) -> Expr:
        """Ask for the last value, or for all that nothing else reads."""
        last = Ref(len(self.pool) - 1)
        if self.one_in(4):
            return last
        read = {part.at for step in self.steps for part in parts(step)}
        sinks = [at for at in range(len(self.pool)) if at not in read] or [last.at]
        if self.one_in(2):  # so that what is skipped does not hide the rest
            for at in list(sinks):
                if self.pool[at].what not in ("Given", "Choice", "InOrder"):
                    self.add(InOrder((at,)), self.pool[at].kind, self.pool[at].group)
                    sinks[sinks.index(at)] = len(self.pool) - 1
        items: list[Expr] = [Ref(at) for at in sinks]
        if self.one_in(5):
            items = [Box("list", tuple(items)), 1, self.ref()]
        return Box(self.pick(("list", "tuple", "dict")), tuple(items))

    def recipe(self, handing: bool = False) -> Recipe:
        makers: Sequence[Callable[[], None]] = (
            *(self.call, self.call, self.call, self.call, self.machine, self.machine, self.router, self.router),
            *(
                self.turning,
                self.nested,
                self.mapped,
                self.given,
                self.pure,
                self.in_order,
                self.pipe,
                self.inner if self.skips else self.machine,
            ),
        )
        count = self.pick((1, 3, 4, 5, 6, 7, 8, 10))
        if self.one_in(6):  # loops of loops and maps, with nothing that keeps them from becoming one function
            self.skips = False
            makers = (self.nested, self.nested, self.call)
            count = self.number(2, 1)
        for _ in range(count):
            self.pick(makers)()
        if not self.pool:
            self.call()
        blueprints: tuple[Recipe, ...] = ()
        if handing and self.one_in(3):
            ids = tuple(f"g{at}" for at in range(self.number(3, 1)))
            blueprints = tuple(_Drawer(self.choose).blueprint(ids, self.skips) for _ in ids)
            for _ in range(self.number(2, 1)):
                self.relay(ids)
        target = self.target()
        values: tuple[Expr, ...] = (0, 1, 2, "x", False)
        params = tuple((name, self.pick(values)) for name in PARAMS if self.one_in(3))
        return Recipe(tuple(self.steps), target, params, blueprints)


@st.composite
def recipes(draw: Callable[[st.SearchStrategy[int]], int], handing: bool = False) -> Recipe:
    """Draw a program; if `handing`, it may have blueprints that tail calls lead to."""
    return _Drawer(lambda count: draw(st.integers(0, count - 1))).recipe(handing)


def fixed_recipes(count: int, seed: int = 0, handing: bool = False) -> Iterator[Recipe]:
    """Make programs that are the same each time, on every version of everything."""
    return (fixed_recipe(at, seed, handing) for at in range(count))


def fixed_recipe(at: int, seed: int = 0, handing: bool = False) -> Recipe:
    """Make one of them."""
    return _Drawer(Random(f"{seed} {at}").randrange).recipe(handing)


def nested_recipes(count: int, seed: int = 0) -> Iterator[Recipe]:
    """Make programs of one loop that maps and other loops feed."""
    for at in range(count):
        drawer = _Drawer(Random(f"nested {seed} {at}").randrange)
        drawer.skips = False
        drawer.nested()
        yield Recipe(tuple(drawer.steps), Ref(len(drawer.pool) - 1))
