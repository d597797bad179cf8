"""Tasks: plain functions whose calls declare a graph instead of running."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from types import MethodType
from typing import Any, Concatenate, Generic, Literal, NoReturn, ParamSpec, overload

from cascade.spec.caching import cache_from
from cascade.spec.control import Jump, TailCall
from cascade.spec.keywords import explains_options, no_option
from cascade.spec.lazy import LazyResult, R, place
from cascade.spec.mapping import Mappable, OnError, Partial, by_name
from cascade.spec.mistakes import NO_OPTIONS_OF_TASKS, check_argument, no_attribute_of_task, refuse_uncalled
from cascade.spec.placement import CallForm, Profile, profile_of
from cascade.spec.policies import (
    METHOD,
    Constraints,
    Hook,
    Hooks,
    Retry,
    hooks_from,
    needs_from,
    retry_from,
    seconds_from,
)
from cascade.spec.refusals import Absent
from cascade.spec.resource import Inject, injected
from cascade.spec.shown import one_line
from cascade.spec.signal import UNSET, Unset
from cascade.spec.signature import EVERY_NUMBER, CallShape, declared_at, shape_of
from cascade.spec.streams import check_generator, check_reader, streams_in

__all__ = ["Mode", "OnError", "Partial", "Task", "task"]

P = ParamSpec("P")
Q = ParamSpec("Q")
Mode = Literal["auto", "inline", "blocking", "compute", "process"]

COROUTINE, GENERATOR, ASYNC_GENERATOR = 0x80, 0x20, 0x200
OPTIONS = (
    "name",
    "pure",
    "mode",
    "retry",
    "timeout",
    "heartbeat",
    "cache",
    "constraints",
    "resources",
    "tags",
    "record",
    "version",
    "on_failure",
    "on_success",
)
MODES = ("auto", "inline", "blocking", "compute", "process")

PASSED = frozenset({LazyResult, int, str, float, bool, type(None), bytes, complex, list, tuple, dict, set, frozenset})
"""Arguments of these types need no closer look."""

_frame = sys._getframe


class Task(Mappable[R], Generic[P, R]):
    """A function whose calls declare nodes of a graph; `@cs.task` makes one.

    The value of a generator function, sync or async, is the list of what it yields.

    `func` is the plain function, for unit tests. Calling the task checks the call against the
    function's signature at once and returns a `LazyResult`.
    """

    func: Callable[P, Any]
    __wrapped__: Callable[P, Any]

    def __init__(
        self,
        func: Callable[P, Any],
        *,
        name: str | None = None,
        pure: bool = False,
        mode: Mode = "auto",
        retry: Retry | None = None,
        timeout: float | None = None,
        heartbeat: float | None = None,
        constraints: Constraints | None = None,
        cache: Any = None,
        resources: dict[str, float] | None = None,
        tags: tuple[str, ...] = (),
        record: bool | None = None,
        version: Any = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.func = self.__wrapped__ = func
        self.__name__: str = getattr(func, "__name__", type(func).__name__)
        self.__qualname__ = getattr(func, "__qualname__", self.__name__)
        self.__module__ = getattr(func, "__module__", None) or "builtins"
        self.__doc__ = getattr(func, "__doc__", None)
        self.name: str = one_line(name or self.__name__)
        self.pure = pure
        self.mode: Mode = mode
        self.retry = retry
        self.timeout = timeout
        self.heartbeat = heartbeat
        self.constraints = constraints
        self.cache = cache
        self.reach: Any = None
        """What the keys of its cache know of its function."""
        self.resources = resources
        self.tags = tags
        self.record = record
        self.version = version
        self.hooks = hooks
        self.receiver: Any = None
        """The instance whose method it is; only of a `BoundTask`."""
        self.variant: tuple[Task[P, R], dict[str, Any]] | None = None
        """The task that it was made of by `with_options`, and those."""
        self.origin: Task[..., R] = self
        flags = _flags_of(func)
        self.is_async: bool = bool(flags & (COROUTINE | ASYNC_GENERATOR))
        self.yields: bool = bool(flags & (GENERATOR | ASYNC_GENERATOR)) and not flags & COROUTINE
        """Whether it is a generator function, whose value is the list of what it yields."""
        if mode == "process" and self.is_async:
            raise ValueError(
                f"task {self.name!r} ({self.declared}) is async, and async tasks run on the event loop: leave "
                'mode="process" out, or make it a plain def'
            )
        self.shape: CallShape | None = shape_of(func)
        self.streams: frozenset[str] = streams_in(func)
        """The parameters that are declared as `cs.Stream`."""
        if self.yields:
            check_generator(self)
        if self.streams:
            check_reader(self)
        self.needs: dict[str, Inject] = injected(self.shape)
        has_policy = retry or timeout or heartbeat or constraints or cache is not None or hooks
        self.is_plain: bool = not (has_policy or self.needs or self.yields or self.streams)
        self._least, self._most = self._counts()
        self._profile: Profile = profile_of(func)
        self.form: CallForm = CallForm(self, (), self._profile)
        self.forms: dict[tuple[str, ...], CallForm] = {(): self.form}
        self.spellings: dict[tuple[str, ...], int] = {}
        """Keywords that go by position: their names in order, and how many arguments stand before them."""

    def _counts(self) -> tuple[int, int]:
        """How many positional arguments a call without keywords may have."""
        shape = self.shape
        if shape is None:
            return 0, EVERY_NUMBER
        if shape.required_keywords:
            return EVERY_NUMBER, 0
        return shape.least, shape.most

    @property
    def declared(self) -> str:
        """Where its function stands: `file:line`."""
        return declared_at(self.func)

    def __repr__(self) -> str:
        return f"<Task {self.name!r}, declared at {self.declared}>"

    def __reduce__(self) -> Any:
        return self.__qualname__ if self.variant is None else (_variant, self.variant)

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> LazyResult[R]: ...
    @overload
    def __call__(self, /, *args: Any, **kwargs: Any) -> LazyResult[R]: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> LazyResult[R]:
        """Declare one call: return its lazy result and run nothing.

        Its first form has the function's parameters, which editors show; each may be a lazy value, hence the second.

        Raises:
            TypeError: the arguments do not fit the function's signature, or one of them is a task
                that was not called.
        """
        if kwargs:
            if self.spellings.get(tuple(kwargs)) != len(args):
                return self._declare(args, kwargs, _frame(1), None)
            args += tuple(kwargs.values())
        count = len(args)
        if not self._least <= count <= self._most:
            self._refuse(args, kwargs)
        if count == 1:
            cls = args[0].__class__
            if cls is not LazyResult and cls is not int and cls not in PASSED:
                self._check(args[0])
        else:
            for value in args:
                if value.__class__ not in PASSED:
                    self._check(value)
        lazy: LazyResult[R] = LazyResult()
        lazy.task = self
        lazy.args = args
        frame = _frame(1)
        lazy.code = frame.f_code
        lazy.lasti = frame.f_lasti
        lazy.kwargs = lazy.plan = lazy.config = None
        return lazy

    def _call_method(self, receiver: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: Any) -> LazyResult[R]:
        """Declare a call of a method, in few steps where that is by position."""
        if kwargs and self.spellings.get(tuple(kwargs)) == len(args) + 1:
            args, kwargs = args + tuple(kwargs.values()), {}
        if kwargs or not self._least <= len(args) + 1 <= self._most:
            return self._declare(args, kwargs, frame, receiver)
        for value in args:
            if value.__class__ not in PASSED:
                self._check(value)
        lazy: LazyResult[R] = LazyResult()
        lazy.task = self
        lazy.args = (receiver, *args)
        lazy.config = METHOD
        lazy.code = frame.f_code
        lazy.lasti = frame.f_lasti
        lazy.kwargs = lazy.plan = None
        return lazy

    def _declare(self, args: tuple[Any, ...], kwargs: dict[str, Any], frame: Any, receiver: Any) -> LazyResult[R]:
        """Declare a call with keywords, or of a method."""
        if receiver is not None:
            args = (receiver, *args)
        if self.shape is not None and not self.shape.takes(len(args), kwargs):
            self._refuse(args, kwargs)
        for value in (*args[0 if receiver is None else 1 :], *kwargs.values()):
            if value.__class__ not in PASSED:
                self._check(value)
        if kwargs and self.shape is not None and self.shape.passes_in_order(len(args), kwargs):
            self.spellings[tuple(kwargs)] = len(args)
            args, kwargs = (*args, *kwargs.values()), {}
        lazy: LazyResult[R] = LazyResult()
        lazy.task = self
        lazy.args = args
        lazy.kwargs = kwargs or None
        lazy.config = None if receiver is None else METHOD
        place(lazy, frame)
        return lazy

    @overload
    def __get__(self, instance: None, owner: type) -> Task[P, R]: ...
    @overload
    def __get__(self: Task[Concatenate[Any, Q], R], instance: object, owner: type | None = None) -> BoundTask[Q, R]: ...
    @overload
    def __get__(self, instance: Any, owner: type | None = None) -> Task[..., R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Task[..., R]:
        """Bind to an instance, as a function would: its methods can be tasks."""
        if instance is None:
            return self
        bound: BoundTask[..., R] = object.__new__(BoundTask)
        bound.origin, bound.receiver = self, instance
        bound.__doc__, bound.__module__ = self.__doc__, self.__module__  # a class has these of its own
        return bound

    def _fixed(self) -> tuple[Any, dict[str, Any]]:
        return self, {}

    @explains_options("task.with_options")
    def with_options(
        self,
        *,
        name: str | Unset = UNSET,
        pure: bool | Unset = UNSET,
        mode: Mode | Unset = UNSET,
        retry: Any = UNSET,
        timeout: float | Unset | None = UNSET,
        heartbeat: float | Unset | None = UNSET,
        cache: Any = UNSET,
        constraints: dict[str, Any] | Unset | None = UNSET,
        resources: Mapping[str, float] | Unset | None = UNSET,
        tags: Iterable[str] | Unset = UNSET,
        record: bool | Unset | None = UNSET,
        version: Any = UNSET,
        on_failure: Hook | Unset = UNSET,
        on_success: Hook | Unset = UNSET,
    ) -> Task[P, R]:
        """Return another task of the same function, with these options in the place of its own.

        The task itself stays as it is: `patient = fetch.with_options(timeout=60, retry=5)`. What is not given is taken
        from it; None takes a retry, a timeout, a heartbeat, a cache or constraints away.

        Args:
            name, pure, mode, retry, timeout, heartbeat, cache, constraints, resources, tags, record, version,
                on_failure, on_success: as in `@cs.task`.
        """
        given: dict[str, Any] = {
            **{"name": name, "pure": pure, "mode": mode, "retry": retry, "timeout": timeout, "cache": cache},
            **{"constraints": constraints, "tags": tags, "record": record, "version": version, "resources": resources},
            **{"on_failure": on_failure, "on_success": on_success, "heartbeat": heartbeat},
        }
        given = {option: value for option, value in given.items() if value is not UNSET}
        held = self.constraints
        own = {
            **{"name": self.name, "pure": self.pure, "mode": self.mode, "retry": self.retry, "timeout": self.timeout},
            **{"cache": self.cache, "constraints": held and {**held.amounts, **held.lazy}, "tags": self.tags},
            **{"record": self.record, "version": self.version, "heartbeat": self.heartbeat},
            **{"resources": self.resources},
        }
        if self.hooks is not None:
            own |= {"on_failure": self.hooks.on_failure, "on_success": self.hooks.on_success}
        made: Any = task(**{**own, **given})
        other: Task[P, R] = made(self.func)
        other.variant = (self, given)
        return other

    @by_name
    def partial(self, /, **values: Any) -> Partial[R]:
        """Fix some arguments for all calls: `f.partial(k=1).map(x=[1, 2])`."""
        return Partial(self, values)

    def form_of(self, names: tuple[str, ...]) -> CallForm:
        """Return the call form that passes `names` by keyword."""
        form = self.forms.get(names)
        if form is None:
            form = self.forms[names] = CallForm(self, names, self._profile)
        return form

    def _refuse(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NoReturn:
        import inspect

        try:
            inspect.signature(self.func).bind(*args, **kwargs)
            reason = "the arguments do not fit"
        except TypeError as error:
            reason = str(error)
        signature = inspect.signature(self.func)
        raise TypeError(
            f"task {self.name!r} cannot be called like this: {reason}{self._unknown(args, kwargs)}; "
            f"it is {self.__name__}{signature}, declared at {self.declared}"
        )

    def _unknown(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Name the keywords of a call that the function does not take, and those that may be meant."""
        from difflib import get_close_matches

        shape = self.shape
        if shape is None:
            return ""
        free = [name for name in (*shape.names[max(len(args), shape.only) :], *shape.keywords) if name not in kwargs]
        missing = [name for name in free if name not in shape.defaults]
        said = ""
        for name in kwargs:
            if not shape.accepts(name):
                near = get_close_matches(name, free, 1) or missing
                said += f", and it has no parameter {name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
        return said

    def _check(self, value: Any) -> None:
        """Look closer at an argument that is not of a type that most are of."""
        who = f"task {self.name!r} ({self.declared})"
        if isinstance(value, Task | Partial):
            refuse_uncalled(value, who)
        check_argument(value, who)


class BoundTask(Task[P, R]):
    """A task that is a method, of one instance; all that is not said here is as of the task itself."""

    func: Callable[..., Any]  # which takes the instance, too

    def __getattr__(self, name: str) -> Any:
        return MethodType(self.origin.func, self.receiver) if name == "__wrapped__" else getattr(self.origin, name)

    def __reduce__(self) -> Any:
        return getattr, (self.receiver, self.__name__)

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> LazyResult[R]: ...
    @overload
    def __call__(self, /, *args: Any, **kwargs: Any) -> LazyResult[R]: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> LazyResult[R]:
        """Declare one call: return its lazy result and run nothing."""
        return self.origin._call_method(self.receiver, args, kwargs, _frame(1))

    def with_options(self, **options: Any) -> Task[..., R]:  # type: ignore[override]  # they are checked there
        """Return a method of the same instance with these options in the place of its own."""
        other: Task[..., R] = self.origin.with_options(**options).__get__(self.receiver)
        return other


def _flags_of(func: Any) -> int:
    """The code flags that tell coroutine functions and generators, looked for where Python hides them."""
    while True:
        if isinstance(func, MethodType):
            func = func.__func__
        elif hasattr(func, "func") and hasattr(func, "keywords"):  # functools.partial
            func = func.func
        else:
            break
    code = getattr(func, "__code__", None)
    if code is None and not isinstance(func, type):
        code = getattr(getattr(type(func), "__call__", None), "__code__", None)  # noqa: B004
    flags: int = getattr(code, "co_flags", 0)
    return flags


@overload
def task(func: Callable[P, Coroutine[Any, Any, R | Jump | TailCall]], /) -> Task[P, R]: ...
@overload
def task(func: Callable[P, Awaitable[R | Jump | TailCall]], /) -> Task[P, R]: ...
@overload
def task(func: Callable[P, AsyncIterator[R]], /) -> Task[P, list[R]]: ...
@overload
def task(func: Callable[P, Iterator[R]], /) -> Task[P, list[R]]: ...
@overload
def task(func: Callable[P, R | Jump | TailCall], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    pure: bool = False,
    mode: Mode = "auto",
    retry: Any = None,
    timeout: float | None = None,
    heartbeat: float | None = None,
    cache: Any = None,
    constraints: dict[str, Any] | None = None,
    resources: Mapping[str, float] | None = None,
    tags: Iterable[str] = (),
    record: bool | None = None,
    version: Any = None,
    on_failure: Hook | Unset = UNSET,
    on_success: Hook | Unset = UNSET,
) -> _Decorator: ...
def task(
    func: Any = None,
    /,
    *,
    name: str | None = None,
    pure: bool = False,
    mode: Mode = "auto",
    retry: Any = None,
    timeout: float | None = None,
    heartbeat: float | None = None,
    cache: Any = None,
    constraints: dict[str, Any] | None = None,
    resources: Mapping[str, float] | None = None,
    tags: Iterable[str] = (),
    record: bool | None = None,
    version: Any = None,
    on_failure: Hook | Unset = UNSET,
    on_success: Hook | Unset = UNSET,
    **unknown: Any,
) -> Any:
    """Make a task of a function: `@cs.task`, `@cs.task(name="...")` or `cs.task(len)`.

    Args:
        name: what it is called in events, errors and drawings; by default the function's name.
        pure: equal calls in one graph are one node.
        mode: where a sync function runs: "inline" on the event loop's thread, "blocking" in the I/O
            threads, "compute" in the compute threads, "process" in a process of its own pool, "auto"
            by what is learned of its speed. An auto function may run on any thread: one that waits for
            another task, needs a certain thread or starts an event loop says "blocking".
        retry: what `with_retry` takes (as a dict), or an int: `max_attempts`.
        cache: what `with_cache` takes.
        timeout: what `with_timeout` takes, in seconds.
        heartbeat: how many seconds an attempt may be silent: if it takes longer until the next
            `cs.current().heartbeat()`, or its end, it fails with a TimeoutError.
        constraints: what `with_constraints` takes.
        resources: what a call needs of a worker of a cluster, by the cluster's names: `{"GPU": 1}`. Executors of
            clusters have it counted there; on this machine `constraints` limit.
        tags: free words.
        record: whether its values are recorded where the run is; by default they are, unless it is pure. With False,
            another call's value does as well: it is computed again where a reader needs it.
        version: stands for its code, in cache keys and where a recorded run asks whether that has changed.
        on_failure, on_success: what `with_hooks` takes: a function of the `cs.Outcome` of a call that has failed for
            good, or has succeeded.

    Raises:
        TypeError: what is decorated cannot be called.
        ValueError: a generator function, or an async one, in a process; or another mode that there is not.
        NotImplementedError: a generator function that takes `resume_from`.
    """
    if unknown:
        raise no_option("cs.task", unknown, OPTIONS)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"the name of a task is a text, so cs.task takes name={str(name)!r}, not name={name!r}")
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
    policy = retry_from(retry)
    kept = cache_from(cache, "@cs.task(cache=...)")
    seconds = None if timeout is None else seconds_from(timeout, "@cs.task(timeout=...)")
    pulse = None if heartbeat is None else seconds_from(heartbeat, "@cs.task(heartbeat=...)")
    limits = Constraints(constraints) if constraints else None
    needed = needs_from(resources)
    words = tuple(tags)
    hooks = hooks_from("@cs.task", on_failure, on_success)

    def declare(func: Any) -> Task[..., Any]:
        if isinstance(func, Task):
            raise TypeError(
                f"{func!r} is a task already; decorate the function once ({func.name}.with_options(...) makes another "
                "task of it, with options of its own)"
            )
        if isinstance(func, (staticmethod, classmethod)):
            raise TypeError("put @staticmethod or @classmethod above @cs.task, not below it")
        if not callable(func):
            raise TypeError(f"@cs.task makes a task of a function, not of {func!r}")
        return Task(
            func,
            name=name,
            pure=pure,
            mode=mode,
            retry=policy,
            timeout=seconds,
            heartbeat=pulse,
            constraints=limits,
            cache=kept,
            resources=needed,
            tags=words,
            record=record,
            version=version,
            hooks=hooks,
        )

    return declare if func is None else declare(func)


def _variant(base: Task[..., Any], options: dict[str, Any]) -> Task[..., Any]:
    """Make a task anew that crosses to another process."""
    made: Task[..., Any] = base.with_options(**options)
    return made


for _name in NO_OPTIONS_OF_TASKS:
    setattr(Task, _name, Absent(_name, no_attribute_of_task))


class _Decorator:
    """What `@cs.task(...)` gives, for type checkers."""

    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, R | Jump | TailCall]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, Awaitable[R | Jump | TailCall]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, AsyncIterator[R]], /) -> Task[P, list[R]]: ...
    @overload
    def __call__(self, func: Callable[P, Iterator[R]], /) -> Task[P, list[R]]: ...
    @overload
    def __call__(self, func: Callable[P, R | Jump | TailCall], /) -> Task[P, R]: ...
    def __call__(self, func: Any, /) -> Any: ...
