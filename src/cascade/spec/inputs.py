"""Inputs: values that a graph is given when it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cascade.errors import ParameterError
from cascade.spec.keywords import explains_options
from cascade.spec.lazy import Lazy, place
from cascade.spec.mistakes import find_lazy, may_hide
from cascade.spec.shown import without_passwords
from cascade.spec.signal import UNSET

if TYPE_CHECKING:
    from cascade.spec.scalars import Reading

__all__ = ["MASK", "PLAIN", "Env", "Input", "Param"]

MASK = "***"
"""What is shown in the place of a secret."""
PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Defaults of these types need no copy."""
COPIED = frozenset({set, bytearray})
READ_LATER = frozenset({str, int, float, bool, object, list, tuple, dict, set, frozenset, bytes})
"""Types that are known to be readable: how is looked up when a value is not of them already."""
SECRET_ENDS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
SECRET_WORDS = frozenset({"token", "secret", "password", "passwd", "passphrase", "api_key", "apikey"})
SECRET_TAILS = ("_token", "_secret", "_password", "_passwd", "_passphrase", "api_key", "access_key", "private_key")
MOST_LETTERS = 200
MOST_LOOKS = 1000
"""So many things in a value are looked at for one that has no value yet."""


class Input(Lazy):
    """A named value that is read once, when a run starts."""

    __slots__ = ("default", "description", "name", "secret")

    kind = "parameter"

    def __init__(self, name: str, default: Any, description: str, secret: bool | None) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"a {self.kind} has a name that is not empty, not {name!r}")
        if getattr(default, "is_lazy", False) is True:
            raise TypeError(f"the default of {self.kind} {name!r} is a plain value, not {default!r}")
        self.name: str = name
        self.default: Any = default
        self.description: str = description
        self.secret: bool = self.sounds_secret(name) if secret is None else secret

    @classmethod
    def sounds_secret(cls, name: str) -> bool:
        """Say whether the name is that of a secret."""
        parted = [
            f"_{c}" if c.isupper() and before.islower() else c for before, c in zip(f"_{name}", name, strict=False)
        ]
        word = "".join(parted).lower().replace("-", "_")
        return word in SECRET_WORDS or word.endswith(SECRET_TAILS)

    def key(self) -> tuple[Any, ...]:
        """What tells two inputs apart."""
        return (self.__class__, self.name, self.default.__class__, self.default, getattr(self, "type", None))

    def fresh_default(self) -> Any:
        """Return the default; of a list, dict or set a new copy, so that no run finds what another put in."""
        default = self.default
        try:
            return _copied(default)
        except RecursionError:  # it holds itself
            return default

    def shown(self, value: Any) -> Any:
        """Return what may be told of a value."""
        if self.secret and value is not None:
            return MASK
        return without_passwords(value) if value.__class__ is str else value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, declared at {self.declared}>"

    def _spelled(self) -> str:
        return f"cs.{type(self).__name__}({self.name!r})"


class Param(Input):
    """A parameter of the graph that uses it.

    Args:
        name: its name in `params`.
        default: its value when none is given; without one it is required. It is not converted.
        type: what a given text is converted to; by default the default's type. A value that has this type passes
            as it is, and another object is refused. Anything that annotates (`list[int]`, `date | None`,
            `Literal`, enumerations, dataclasses, pydantic models), or a function that converts. Without a type and
            a default (or with None) whatever is given passes as it is.
        description: a sentence for the help of a command line.
        secret: its values are never shown; by default if the name says so, such as `token` or `db_password`.

    Raises:
        TypeError: text cannot be read as this type.
    """

    __slots__ = ("_reading", "type", "typed")

    @explains_options("cs.Param")
    def __init__(
        self,
        name: str,
        default: Any = UNSET,
        type: Any = None,
        description: str = "",
        *,
        secret: bool | None = None,
    ) -> None:
        if secret is None and "Secret" in getattr(type, "__name__", ""):
            secret = True
        super().__init__(name, default, description, secret)
        self.become(type)
        place(self, sys._getframe(2))  # behind `explains_options`

    def become(self, type: Any) -> None:
        """Take on a type; None: that of the default."""
        default = self.default
        self.typed: bool = type is not None or (default is not UNSET and default is not None)
        """Whether anything is converted or refused."""
        self._reading: Reading | None = None
        if type is not None:
            self.type: Any = type
            if not _is_hashable(type) or type not in READ_LATER:
                self._reading = self._look_up()
        else:
            self.type = default.__class__ if self.typed else str

    def _look_up(self) -> Reading:
        from cascade.spec.reading import reading_for, reading_of

        if self.default.__class__ is self.type:
            return reading_for(self.default)
        try:
            return reading_of(self.type)
        except TypeError as error:
            raise TypeError(f"cs.Param({self.name!r}): {error}") from None

    @property
    def takes_many(self) -> bool:
        """Whether it is a list or the like, whose items may be given one by one."""
        if self._reading is None and self.typed:
            self._reading = self._look_up()
        return self._reading is not None and self._reading.many

    def convert(self, value: Any) -> Any:
        """Return `value` as this parameter's type.

        Raises:
            ParameterError: it is not of this type, nor text that can be read as it, or it is a lazy value.
        """
        if value.__class__ is self.type and value.__class__ in (str, int, float, bool):
            return value
        if (lazy := _lazy_in(value)) is not None:
            inside = "" if lazy is value else f"with {lazy!r} in it, "
            raise ParameterError(
                f"parameter {self.name!r} (declared at {self.declared}) was given {self.shown(value)!r}, {inside}which "
                "has no value yet; give a plain value, or use cs.subflow(target, params=...) to feed it from a graph"
            )
        if not self.typed or (value is None and self.default is None):
            return value
        if self._reading is None:
            self._reading = self._look_up()
        try:
            return self._reading.read(value)
        except Exception as error:
            cause: Exception | None = error
        if self.secret:  # nor does the error lead to one that shows it
            cause = None
        raise self._refusal(value, cause) from (cause if without_passwords(str(cause)) == str(cause) else None)

    def _refusal(self, value: Any, error: Exception | None) -> ParameterError:
        from cascade.spec.scalars import Refused, spelled

        if error is None:
            shown, why = "what was given, which is secret,", ""
        else:
            shown = without_passwords(repr(value))
            shown = shown if len(shown) <= MOST_LETTERS else f"{shown[: MOST_LETTERS - 1]}…"
            why = without_passwords(str(error)) or ("" if isinstance(error, Refused) else repr(error))
            why = why.removeprefix(f"{shown} is no {spelled(self.type)}")
            why = f" ({why})" if why.startswith("write ") else why if why.startswith(": ") or not why else f": {why}"
        return ParameterError(
            f"parameter {self.name!r} (declared at {self.declared}) cannot take {shown} as {spelled(self.type)}{why}"
        )


class Env(Input):
    """An environment variable, read when a run starts.

    Args:
        name: its name in the environment.
        default: its value where the environment has none; without one it is required.
        description: a sentence about it, for whoever has to set it.
        secret: its value is never shown; by default if the name ends in _KEY, _TOKEN, _SECRET or _PASSWORD.
    """

    __slots__ = ()

    kind = "variable of the environment"

    @classmethod
    def sounds_secret(cls, name: str) -> bool:
        """Say whether the name is that of a secret."""
        return name.upper().endswith(SECRET_ENDS)

    @explains_options("cs.Env")
    def __init__(self, name: str, default: Any = UNSET, description: str = "", *, secret: bool | None = None) -> None:
        super().__init__(name, default, description, secret)
        place(self, sys._getframe(2))  # behind `explains_options`


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _lazy_in(value: Any) -> Any:
    """Return the lazy value that a value is, or that is somewhere in it; None: there is none."""
    cls = type(value)
    if cls in (list, tuple, set, dict):  # of the items all classes are looked at, however many there are
        kinds = set(map(type, value.values() if cls is dict else value))
        if not any(may_hide(kind) or getattr(kind, "is_lazy", False) is True for kind in kinds):
            return None
        for item in value.values() if cls is dict else value:
            if getattr(type(item), "is_lazy", False) is True:
                return item
    elif getattr(cls, "is_lazy", False) is True:
        return value
    found = find_lazy(value, MOST_LOOKS)
    return None if found is None else found[1]


def _copied(value: Any) -> Any:
    """Return a copy of a container and of those inside; everything else in it is what it was."""
    cls = value.__class__
    if cls is list or cls is tuple:
        return cls(map(_copied, value))
    if cls is dict:
        return {key: _copied(item) for key, item in value.items()}
    if cls in COPIED or cls.__module__ == "collections":
        return value.copy() if hasattr(value, "copy") else value
    return value
