"""Inputs: values that a graph is given when it runs."""

from __future__ import annotations

import sys
from typing import Any

from cascade.errors import ParameterError
from cascade.spec.lazy import Lazy, place
from cascade.spec.signal import UNSET

__all__ = ["Env", "Input", "Param"]

WORDS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


class Input(Lazy):
    """A named value that is read once, when a run starts."""

    __slots__ = ("default", "name")

    kind = "parameter"

    def __init__(self, name: str, default: Any) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"a {self.kind} has a name that is not empty, not {name!r}")
        self.name: str = name
        self.default: Any = default

    def key(self) -> tuple[Any, ...]:
        """What tells two inputs apart."""
        return (self.__class__, self.name, self.default.__class__, self.default, getattr(self, "type", None))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, declared at {self.declared}>"

    def _spelled(self) -> str:
        return f"cs.{type(self).__name__}({self.name!r})"


class Param(Input):
    """A parameter of the graph that uses it.

    Args:
        name: its name in `params`.
        default: its value when none is given; without one it is required. It is not converted.
        type: what a given value is converted to; by default the default's type, else str. A value that
            has this type already passes as it is; bool reads true, false, 1, 0, yes, no, on and off.
        description: a sentence for the help of a command line.
    """

    __slots__ = ("description", "type")

    def __init__(self, name: str, default: Any = UNSET, type: Any = None, description: str = "") -> None:
        super().__init__(name, default)
        if type is None:
            type = str if default is UNSET or default is None else default.__class__
        if not callable(type):
            raise TypeError(f"cs.Param({name!r}): type is a type or a function that converts, not {type!r}")
        self.type: Any = type
        self.description: str = description
        place(self, sys._getframe(1))

    def convert(self, value: Any) -> Any:
        """Return `value` as this parameter's type.

        Raises:
            ParameterError: it does not convert.
        """
        wanted = self.type
        number = isinstance(value, bool) and wanted is not bool  # a bool is an int to Python, but not to a reader
        if isinstance(wanted, type) and isinstance(value, wanted) and (not number or wanted is object):
            return value
        try:
            if wanted is bool:
                return WORDS[str(value).strip().lower()]
            return wanted(value)
        except Exception as error:
            name = getattr(wanted, "__name__", repr(wanted))
            hint = " (write true, false, 1, 0, yes, no, on or off)" if wanted is bool else f": {error}"
            raise ParameterError(
                f"parameter {self.name!r} (declared at {self.declared}) cannot take {value!r} as {name}{hint}"
            ) from error


class Env(Input):
    """An environment variable, read when a run starts.

    Args:
        name: its name in the environment.
        default: its value where the environment has none; without one it is required.
    """

    __slots__ = ()

    kind = "variable of the environment"

    def __init__(self, name: str, default: Any = UNSET) -> None:
        super().__init__(name, default)
        place(self, sys._getframe(1))
