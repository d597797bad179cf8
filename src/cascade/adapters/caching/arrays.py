"""Arrays of numpy by type, shape and bytes, and what subclasses add to them; without a need for numpy."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from cascade.adapters.caching.places import is_own_class

__all__ = ["ArrayForm", "form_of", "is_array"]

KEPT = {
    "memmap": frozenset({"_mmap", "filename", "mode", "offset"}),
    "MaskedArray": frozenset(
        {
            *("_mask", "_fill_value", "_hardmask", "_sharedmask", "_isfield", "_baseclass", "_optinfo", "_basedict"),
            "_no_shared_mask",
        }
    ),
}
"""What classes of numpy keep in their arrays for themselves."""


class ArrayForm(NamedTuple):
    """What there is to an array."""

    kind: tuple[str, str]
    """The name of its class, and the type of its items."""
    shape: tuple[int, ...]
    content: bytes | list[Any]
    """The bytes of its items, or a list where they are Python objects."""
    more: tuple[Any, ...]
    """A mask, and attributes, where it has some."""


def _of_numpy(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "numpy"


@lru_cache(maxsize=1024)
def is_array(cls: type) -> bool:
    """Say whether a class is one of numpy's arrays or scalars, or made from one."""
    return any(map(_of_numpy, cls.__mro__)) and hasattr(cls, "tobytes")


@lru_cache(maxsize=1024)
def _base(cls: type) -> tuple[Any, bool, frozenset[str], bool]:
    """Return the plain class of arrays below a class if that is another, if there is a mask, and what says nothing;
    and whether the class is the project's own.
    """
    found = next((base for base in cls.__mro__ if base.__name__ == "ndarray" and _of_numpy(base)), None)
    names = {base.__name__ for base in cls.__mro__ if _of_numpy(base)}
    kept: frozenset[str] = frozenset().union(*(KEPT[name] for name in names & KEPT.keys()))
    return None if found is cls else found, "MaskedArray" in names, kept, is_own_class(cls)


def form_of(value: Any) -> ArrayForm:
    """Return what there is to an array."""
    cls: Any = type(value)
    base, masked, kept, own = _base(cls)
    data = value if base is None else value.view(base)
    dtype = data.dtype
    try:
        spelled = str(dtype.descr)
    except ValueError:  # fields that overlap, or are out of order
        spelled = repr(dtype)
    more: tuple[Any, ...] = (cls,) if own else ()
    if masked:
        more += (value.mask, value.fill_value, value.hardmask)
    if base is not None:
        attributes = {name: held for name, held in getattr(value, "__dict__", {}).items() if name not in kept}
        if attributes:
            more += (attributes,)
    content = data.tolist() if dtype.hasobject else data.tobytes()
    return ArrayForm((cls.__name__, spelled), tuple(data.shape), content, more)
