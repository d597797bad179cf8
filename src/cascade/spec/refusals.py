"""What stands for a value that is not there yet refuses whatever would need it, and says what to write instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["Absent", "NoValue", "is_running"]

HOUSE = os.path.dirname(os.path.dirname(__file__))
ROOMS = (os.path.join(HOUSE, "runtime", ""), os.path.join(HOUSE, "adapters", "executors", ""))
"""Below frames of these files, or of emitted code, a task is running."""
PLAIN = (int, str, float, bool, type(None), bytes)
MOST_SHOWN = 40
RUNS = frozenset({"compute", "result", "get", "value", "run", "execute", "submit", "delay", "collect"})
"""How other libraries spell: give me the value."""
BUILTINS: tuple[type, ...] = (str, bytes, list, dict, set, tuple, int, float, complex)
USUAL = (
    *("content", "data", "dtype", "head", "id", "json", "name", "path", "read_text", "shape", "status", "status_code"),
    *("depends_on", "retries", "retry", "set_name", "then", "timeout", "when", "with_options", "with_retries"),
    *("columns", "text", "with_name", "with_suffix", "write"),
)


class NoValue:
    """Base of what stands for a value that is not there yet: lazy values and runs."""

    __slots__ = ()

    def _spelled(self) -> str:
        """How the line to write instead names it."""
        raise NotImplementedError

    def _why(self, what: str) -> str:
        """Say that it has no value and so cannot be `what`."""
        raise NotImplementedError

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise TypeError(f"{self._why(what)}; {self._instead(instead)}")

    def _instead(self, instead: str) -> str:
        """Say what to do instead."""
        return instead

    def __bool__(self) -> NoReturn:
        self._refuse("used as a condition", "use `.run_if(...)` or cs.Router to decide while running")

    def __iter__(self) -> Iterator[Any]:
        self._refuse("iterated", "use `task.map(name=it)` to call a task for each item")

    def __len__(self) -> int:
        self._refuse("measured with len()", f"pass it to a task that takes its length: cs.task(len)({self._spelled()})")

    def __contains__(self, item: object) -> bool:
        self._refuse("searched with `in`", "pass it to a task that looks into it")

    def __getitem__(self, key: object) -> Any:
        spelled = f"cs.task(lambda x: x[{_short(key, 'key')}])({self._spelled()})"
        self._refuse("indexed", f"pass it to a task that takes the item out: {spelled}")

    def __lt__(self, other: object) -> bool:
        self._refuse("compared by order", f"pass it to a task that compares: {self._by('{x} < {y}', other)}")

    def __le__(self, other: object) -> bool:
        self._refuse("compared by order", f"pass it to a task that compares: {self._by('{x} <= {y}', other)}")

    def __gt__(self, other: object) -> bool:
        self._refuse("compared by order", f"pass it to a task that compares: {self._by('{x} > {y}', other)}")

    def __ge__(self, other: object) -> bool:
        self._refuse("compared by order", f"pass it to a task that compares: {self._by('{x} >= {y}', other)}")

    def _by(self, form: str, other: object, reflected: bool = False) -> str:
        """Spell the call of a task that computes a form of `{x}`, which this stands for, and `{y}`, the other."""
        x, spelled = ("x", self._spelled())
        if isinstance(other, NoValue):
            body, arguments = form.format(x="y" if reflected else "x", y="x" if reflected else "y"), other._spelled()
            given = f"{arguments}, {spelled}" if reflected else f"{spelled}, {arguments}"
            return f"cs.task(lambda x, y: {body})({given})"
        literal = _short(other, "")
        if literal:
            return f"cs.task(lambda x: {form.format(x=x, y=literal)})({spelled})"
        return f"cs.task(lambda x, y: {form.format(x=x, y='y')})({spelled}, ...)"

    def _no_attribute(self, name: str) -> AttributeError:
        """Return the error for an attribute that this has not: hasattr and its like ask for those, too."""
        if name.startswith("_") or hasattr(type(self), name):
            # A protocol asks, or it is one of its own that is not set yet.
            return AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        from difflib import get_close_matches

        own = [each for each in dir(type(self)) if not each.startswith("_") and hasattr(type(self), each)]
        near = get_close_matches(name, own, 1)
        if near:
            instead = f"did you mean .{near[0]}?"
        elif name in RUNS:
            instead = f"cs.run({self._spelled()}) runs it and gives its value"
        else:
            instead = f"take it in a task: cs.task(lambda x: x.{name})({self._spelled()})"
        return AttributeError(f"{self._why(f'asked for its attribute {name!r}')}; {self._instead(instead)}")


class Absent:
    """In the place of an attribute that there is not: its error says what to do.

    As the `__getattr__` of a class would, which makes all other attributes slower to read before Python 3.12.
    """

    __slots__ = ("_error", "_name")

    def __init__(self, name: str, error: Callable[[Any, str], AttributeError]) -> None:
        self._name = name
        self._error = error

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            raise AttributeError(f"{owner!r} has no attribute {self._name!r}")
        raise self._error(instance, self._name)


def is_running() -> bool:
    """Say whether a task is running here."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(ROOMS) or file.startswith("<cascade plan "):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _short(value: object, otherwise: str) -> str:
    if isinstance(value, PLAIN) and len(repr(value)) <= MOST_SHOWN:
        return repr(value)
    return otherwise


# What type checkers need not know of: they complain of these by themselves.

BINARY = {
    **{"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "matmul": "@", "pow": "**"},
    **{"lshift": "<<", "rshift": ">>", "and": "&", "or": "|", "xor": "^"},
}
UNARY = {"neg": "-{x}", "pos": "+{x}", "invert": "~{x}", "abs": "abs({x})"}
CONVERSIONS = {"int": "int", "float": "float", "complex": "complex", "bytes": "bytes", "index": "int", "round": "round"}
MORE_CONVERSIONS = {"trunc": "math.trunc", "floor": "math.floor", "ceil": "math.ceil", "reversed": "reversed"}


def _binary(sign: str, form: str, reflected: bool) -> Callable[..., NoReturn]:
    def refuse(self: NoValue, other: object, *modulo: object) -> NoReturn:
        if sign == "+" and isinstance(other, str):
            text = repr(other + "{}" if reflected else "{}" + other)
            self._refuse(
                "added to a text with `+`", f"make the text while running: cs.format({text}, {self._spelled()})"
            )
        self._refuse(
            f"an operand of `{sign}`", f"write a task that does it, and call it: {self._by(form, other, reflected)}"
        )

    return refuse


def _unary(spelled: str) -> Callable[..., NoReturn]:
    def refuse(self: NoValue) -> NoReturn:
        call = f"cs.task(lambda x: {spelled.format(x='x')})({self._spelled()})"
        self._refuse(f"an operand of `{spelled.format(x='...')}`", f"write a task that does it, and call it: {call}")

    return refuse


def _conversion(name: str) -> Callable[..., NoReturn]:
    def refuse(self: NoValue, *digits: object) -> NoReturn:
        what = "used as a whole number" if name == "index" else f"converted with {name}()"
        function = CONVERSIONS.get(name) or MORE_CONVERSIONS.get(name, name)
        self._refuse(what, f"convert it in a task: cs.task({function})({self._spelled()})")

    return refuse


def _simple(what: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(self: NoValue, *others: object) -> NoReturn:
        self._refuse(what, instead.format(it=self._spelled()))

    return refuse


def _teach() -> None:
    """Give `NoValue` the operators and protocols that it refuses."""
    refusals: dict[str, Callable[..., NoReturn]] = {}
    for name, sign in BINARY.items():
        refusals[name] = _binary(sign, f"{{x}} {sign} {{y}}", False)
        refusals[f"r{name}"] = _binary(sign, f"{{y}} {sign} {{x}}", True)
    refusals["divmod"] = _binary("divmod", "divmod({x}, {y})", False)
    refusals["rdivmod"] = _binary("divmod", "divmod({y}, {x})", True)
    refusals |= {name: _unary(spelled) for name, spelled in UNARY.items()}
    refusals |= {name: _conversion(name) for name in {**CONVERSIONS, **MORE_CONVERSIONS}}
    refusals["fspath"] = _simple("used as a path", "pass it to a task that opens the path: cs.read.text({it})")
    refusals["aiter"] = _simple("iterated", "use `task.map(name=it)` to call a task for each item")
    refusals["setitem"] = _simple("changed", "pass it to a task that returns it changed")
    refusals["delitem"] = refusals["setitem"]
    entered = _simple("entered with `with`", "open it in a resource (@cs.resource), or in the task that needs it")
    refusals |= dict.fromkeys(("enter", "exit", "aenter", "aexit"), entered)
    for name, refuse in refusals.items():
        refuse.__name__ = f"__{name}__"
        setattr(NoValue, f"__{name}__", refuse)


if not TYPE_CHECKING:
    _teach()
    if sys.version_info >= (3, 12):
        NoValue.__getattr__ = lambda self, name: _raise(self._no_attribute(name))
    else:
        for each in {*USUAL, *RUNS, *(name for kind in BUILTINS for name in dir(kind) if not name.startswith("_"))}:
            setattr(NoValue, each, Absent(each, NoValue._no_attribute))
        NoValue.__dir__ = lambda self: [
            each for each in object.__dir__(self) if hasattr(type(self), each) or each in getattr(self, "__dict__", ())
        ]


def _raise(error: AttributeError) -> NoReturn:
    raise error
