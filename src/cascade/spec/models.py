"""How pydantic reads what is left to it: models, constraints, and types with a schema of their own."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

from cascade.spec.scalars import Reading, Refused

__all__ = ["checked", "is_installed", "model"]


def is_installed() -> bool:
    """Say whether pydantic can be imported."""
    try:
        return find_spec("pydantic") is not None
    except ValueError:  # it was taken out of reach
        return False


def model(hint: Any, name: str) -> Reading:
    """Return how pydantic reads a type: strictly what is an object, laxly what is text or made of JSON.

    Raises:
        TypeError: pydantic is not installed, or cannot read it either.
    """
    adapter = _adapter(hint, name)
    from pydantic import ValidationError

    def has(value: Any) -> bool:
        try:
            return adapter.validate_python(value, strict=True) is value
        except ValidationError:
            return False

    def read(value: Any) -> Any:
        if isinstance(value, str):
            return _from_text(adapter, value, ValidationError)
        try:
            return adapter.validate_python(value, strict=True)
        except ValidationError as error:
            if not isinstance(value, (dict, list)):
                raise Refused(_said(error)) from None
        try:
            return adapter.validate_python(value)  # text inside is converted as elsewhere
        except ValidationError as error:
            raise Refused(_said(error)) from None

    return Reading(name, has, read)


def _from_text(adapter: Any, text: str, error_type: Any) -> Any:
    why = ""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return adapter.validate_json(text)
        except error_type as error:
            why = _said(error)
    try:
        return adapter.validate_python(text)
    except error_type as error:
        raise Refused(why or _said(error)) from None


def checked(hint: Any, plain: Reading, name: str) -> Reading:
    """Return how a type with constraints is read: as without them, then checked.

    Raises:
        TypeError: as for `model`.
    """
    adapter = _adapter(hint, name)
    from pydantic import ValidationError

    def check(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            raise Refused(_said(error)) from None

    def has(value: Any) -> bool:
        if not plain.has(value):
            return False
        try:
            return adapter.validate_python(value) is value
        except ValidationError:
            return False

    return Reading(name, has, lambda value: check(plain.read(value)))


def _adapter(hint: Any, name: str) -> Any:
    if not is_installed():
        raise TypeError(
            f"{name} cannot be read from text without pydantic: pip install 'cascade-py[pydantic]'; "
            "or name another type, or a function that converts"
        )
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    try:
        return TypeAdapter(hint)
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError) as error:
        first = re.split(r"\. |\n", str(error))[0]
        raise TypeError(f"{name} is no type that can be read: {first}; or name a function that converts") from error


def _said(error: Any) -> str:
    """Return what pydantic found wrong, in one line and without the values."""
    found = []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(map(str, each["loc"]))
        found.append(f"{where}: {each['msg']}" if where else str(each["msg"]))
    return "; ".join(found)
