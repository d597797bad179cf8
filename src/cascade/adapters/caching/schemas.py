"""What a class of pydantic is made of: its fields, and the schema that it checks by; pydantic is not imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["adapter_content", "class_contents"]

NUMBER = re.compile(r":\d+")
"""In the name of a schema: where its class lies in memory, which is another place in each process."""
UNSEEN = frozenset(
    {"_attributes_set", "_complete", "_original_annotation", "_original_assignment", "_final", "_qualifiers"}
)
"""What a field remembers of how it was made."""


def class_contents(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield what a model or a dataclass of pydantic has beside its attributes, by what each part is called."""
    own = vars(cls)
    fields = own.get("__pydantic_fields__")
    if isinstance(fields, dict):
        yield "fields", {name: _slots(field) for name, field in fields.items()}
    if own.get("__private_attributes__"):
        yield "private attributes", {name: _slots(found) for name, found in own["__private_attributes__"].items()}
    schema = own.get("__pydantic_core_schema__")
    if isinstance(schema, dict):
        yield "schema", _plain(schema, set())


def adapter_content(adapter: Any) -> Any:
    """Return what tells a TypeAdapter from others."""
    schema = getattr(adapter, "core_schema", None)
    return (getattr(adapter, "_type", None), _plain(schema, set()) if isinstance(schema, dict) else None)


def _slots(field: Any) -> Any:
    names = [name for cls in type(field).__mro__ for name in getattr(cls, "__slots__", ()) if name not in UNSEEN]
    return {name: getattr(field, name, None) for name in names} if names else field


def _plain(schema: Any, around: set[int]) -> Any:
    """Return a schema without what says nothing of what it does, and without places in memory."""
    if not isinstance(schema, dict | list) or id(schema) in around:
        return schema if not isinstance(schema, dict | list) else "..."
    around = around | {id(schema)}
    if isinstance(schema, list):
        return [_plain(each, around) for each in schema]
    return {
        name: NUMBER.sub("", held) if name in ("ref", "schema_ref") and isinstance(held, str) else _plain(held, around)
        for name, held in schema.items()
        if name != "metadata"
    }
