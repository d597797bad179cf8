"""The type variables of values. A generic class that is named without an argument means `Any` of it.

Type checkers have `typing_extensions` built in, so it need not be installed; Python itself never imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    R = TypeVar("R", default=Any)
    R_co = TypeVar("R_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)

__all__ = ["R", "R_co"]
