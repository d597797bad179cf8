"""How a call crosses into another process and its outcome back: as bytes, so that each failure can be told apart.

Functions that can be imported cross by name. What stands in `__main__`, in another function or in a lambda
crosses by value, with all that it refers to (`by_value`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, copy_context
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from cascade.adapters.executors import words
from cascade.spec.notes import spelled, traceback_of
from cascade.spec.signal import uncrossable

__all__ = [
    "Reference",
    "RemoteTraceback",
    "Way",
    "carry_out",
    "failure",
    "here",
    "loads",
    "outcome_of",
    "pack_call",
    "pack_calls",
    "refused",
    "unpack_outcome",
    "variables_here",
]

Kind = Literal["value", "raised", "arrival", "result"]
carried: tuple[Any, ...] | None = None
"""In another process: what is known of the call that it carries out, for `cs.current()`."""


here: ContextVar[Any] = ContextVar("cascade_carried", default=None)
"""On a worker of a cluster, which carries out several at once: the call that this code is in (`remote.Call`)."""


class Way(NamedTuple):
    """How errors speak of where a call was sent."""

    runs: str
    there: str
    instead: str
    missing: str = ""
    """What to do about a module that is missing there."""


PROCESS = Way("runs in a process of its own", "in its process", 'leave mode="process" out')


class RemoteTraceback(Exception):
    """The cause of an error that came out of another process: its traceback there, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class Reference:
    """A function by the name of its module and its name there."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def resolve(self) -> Any:
        """Import the function; if it was made a task there, return the task's."""
        from importlib import import_module

        found = attrgetter(self.name)(import_module(self.module))
        return getattr(found, "func", found) if hasattr(found, "origin") else found


def pack_call(what: str, func: Callable[..., Any], args: Any, kwargs: dict[str, Any], about: Any = None) -> bytes:
    """Return a call as bytes; `what` describes its task, and `about` is what the call may know of itself.

    Raises:
        TypeError: the function or an argument does not pickle.
    """
    sent = _reference(func) or func
    try:
        return _dumps((sent, tuple(args), kwargs, about))
    except Exception as error:
        raise refused(what, func, args, kwargs, error) from error


def refused(
    what: str, func: Callable[..., Any], args: Any, kwargs: dict[str, Any], error: BaseException, way: Way = PROCESS
) -> TypeError:
    """Return the error of a call that cannot be packed."""
    blamed = _blamed(_reference(func) or func, func, args, kwargs)
    refusal = TypeError(
        f"{what} {way.runs}, and {blamed} does not pickle, so it cannot be sent there "
        f"({spelled(error)}); pass plain data, or {way.instead}"
    )
    refusal.__cause__ = error
    return refusal


def pack_calls(func: Callable[..., Any], calls: Iterable[Any]) -> bytes:
    """Return several calls of one function as bytes: each with `args`, `kwargs`, `about` and packed `variables`."""
    contexts: dict[bytes, int] = {}
    packed = [
        (tuple(call.args), call.kwargs, call.about, contexts.setdefault(call.variables, len(contexts)))
        for call in calls
    ]
    return _dumps((_reference(func) or func, packed, list(contexts)))


_last: tuple[list[tuple[ContextVar[Any], Any]], bytes] = [], b""


def variables_here() -> bytes:
    """Return the context variables of here that pickle, and are not the engine's own, as bytes."""
    global _last
    from cascade.adapters.executors.by_value import home_of

    found = [(variable, value) for variable, value in copy_context().items() if home_of(variable) is not None]
    known, packed = _last
    is_same = len(known) == len(found)
    if packed and is_same and all(a is c and b is d for (a, b), (c, d) in zip(known, found, strict=True)):
        return packed
    portable = []
    for pair in found:
        try:
            _dumps(pair)
            portable.append(pair)
        except Exception:
            continue
    packed = _dumps(portable)
    _last = found, packed
    return packed


def carry_out(payload: bytes) -> bytes:
    """Make a packed call, in the other process; return its packed outcome."""
    global carried
    words.next_call()
    try:
        func, args, kwargs, carried = loads(payload)
        if isinstance(func, Reference):
            func = func.resolve()
    except BaseException as error:
        return failure("arrival", error)
    try:
        return outcome_of(func, args, kwargs, carried)
    finally:
        carried = None


def outcome_of(func: Callable[..., Any], args: Any, kwargs: dict[str, Any], about: tuple[Any, ...] | None) -> bytes:
    """Make a call; return its packed outcome."""
    try:
        with _traced(about):
            value = func(*args, **kwargs)
    except BaseException as error:
        return failure("raised", error)
    try:
        return _dumps(("value", value, ""))
    except Exception as error:
        return failure("result", error)


def _traced(about: tuple[Any, ...] | None) -> AbstractContextManager[None]:
    """Let what is called here belong to the trace that the call does, if it belongs to one."""
    carrier = about[-1] if about else None
    if not carrier:
        return nullcontext()
    from cascade.adapters.telemetry.otel import carried as within

    return within(carrier)


def unpack_outcome(what: str, outcome: bytes, way: Way = PROCESS) -> Any:
    """Return what a call returned, or raise what it raised, caused by the traceback that it had there.

    Raises:
        TypeError: what it returned does not pickle.
        RuntimeError: the call, or its outcome, could not be unpickled where it arrived.
    """
    try:
        kind, value, text = loads(outcome)
        if kind == "value":
            return value
        error = _revived(value)
    except Exception as reason:
        raise RuntimeError(
            f"what {what} returned or raised {way.there} cannot be unpickled here ({spelled(reason)})"
        ) from reason
    words = spelled(error)
    if kind == "arrival":
        module = error.name if isinstance(error, ModuleNotFoundError) else None
        hint = way.missing.format(module=module) if module else ""
        error = RuntimeError(f"the call of {what} could not be unpickled {way.there} ({words}){hint}")
    elif kind == "result":
        error = TypeError(
            f"{what} {way.runs}, and what it returned does not pickle, so it cannot come back "
            f"({words}); return plain data, or {way.instead}"
        )
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        error.__cause__ = RemoteTraceback(text)
        raise uncrossable(error) from error
    try:
        raise error from RemoteTraceback(text)  # which not even a class that forbids assignment can refuse
    finally:
        del error


def _dumps(value: Any) -> bytes:
    from cascade.adapters.executors.by_value import dumps

    return dumps(value)


def loads(packed: bytes) -> Any:
    """Return a value from bytes."""
    import pickle

    return pickle.loads(packed)


def _reference(func: Any) -> Reference | None:
    """Return how to import a function where that gives this very function, or the task made of it."""
    module, name = getattr(func, "__module__", None), getattr(func, "__qualname__", None)
    if module is None or name is None or module == "__main__":
        return None
    try:
        found = attrgetter(name)(sys.modules[module])
    except (AttributeError, KeyError):
        return None
    return Reference(module, name) if found is func or getattr(found, "func", None) is func else None


def _blamed(sent: Any, func: Any, args: Any, kwargs: dict[str, Any]) -> str:
    """Say which part of a call does not pickle."""
    from inspect import signature

    try:
        names = list(signature(func).parameters)
    except (TypeError, ValueError):
        names = []
    parts = [("its function", sent)]
    parts += [(f"its argument {names[at] if at < len(names) else at}", value) for at, value in enumerate(args)]
    parts += [(f"its argument {name}", value) for name, value in kwargs.items()]
    for said, part in parts:
        try:
            _dumps(part)
        except Exception:
            return said
    return "the call"


def failure(kind: Kind, error: BaseException) -> bytes:
    """Return an error as bytes, with its traceback."""
    text = traceback_of(error) or spelled(error)
    for portable in (_whole, _bare, _described):
        try:
            packed = portable(error)
            if isinstance(_revived(packed), BaseException):
                return _dumps((kind, packed, text))
        except Exception:
            continue
    return _dumps((kind, _dumps(RuntimeError(type(error).__name__)), text))


def _whole(error: BaseException) -> bytes:
    packed = _dumps(error)
    if type(loads(packed)) is not type(error):
        raise TypeError
    return packed


def _bare(error: BaseException) -> bytes:
    """Pack an error whose class takes other arguments than it keeps, or allows no assignment, by what is in it."""
    return _dumps(_parts(error))


def _parts(error: BaseException) -> tuple[Any, ...]:
    """Return class, arguments, attributes and slots of an error; of a group, with those of each member as a tuple."""
    names = {name for cls in type(error).__mro__ for name in _slots_of(cls)}
    slots = {name: getattr(error, name) for name in names if hasattr(error, name)}
    args: Any = error.args
    if isinstance(error, BaseExceptionGroup):
        args = (error.message, [_parts(each) for each in error.exceptions])
    return type(error), args, error.__dict__, slots


def _slots_of(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _described(error: BaseException) -> bytes:
    return _dumps(RuntimeError(f"{spelled(error)} (it does not pickle, so this stands for it)"))


def _revived(packed: bytes) -> BaseException:
    found = loads(packed)
    if isinstance(found, tuple):
        return _rebuilt(*found)
    assert isinstance(found, BaseException)
    return found


def _rebuilt(cls: Any, args: Any, attributes: dict[str, Any], slots: dict[str, Any]) -> BaseException:
    """Make an error of its parts, past what its class does about new ones and about assignment."""
    if issubclass(cls, BaseExceptionGroup):
        args = (args[0], [_rebuilt(*parts) for parts in args[1]])
    error: BaseException = cls.__new__(cls, *args)
    BaseException.args.__set__(error, args)  # type: ignore[attr-defined]
    error.__dict__.update(attributes)
    for name, value in slots.items():
        object.__setattr__(error, name, value)
    return error
