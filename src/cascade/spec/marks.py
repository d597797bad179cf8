"""The marks that stand in a register, or among the results of a map, where no value is."""

from __future__ import annotations

from typing import Final

__all__ = ["NOTHING", "PENDING", "SKIPPED"]


class _Mark:
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


class _Pending(_Mark):
    """Of a class of its own: results are told by their class from what is none, and other marks pass for results."""

    __slots__ = ()


PENDING: Final = _Pending("PENDING")
"""No value yet."""
NOTHING: Final = _Mark("NOTHING")
"""Skipped, with nothing for a reader."""
SKIPPED: Final = _Mark("SKIPPED")
"""In the place of a result: the item failed and is left out."""
