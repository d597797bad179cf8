"""Configuration: YAML files, and values looked up in what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

from cascade.providers.extras import missing
from cascade.spec.signal import UNSET
from cascade.spec.task import task

__all__ = ["load_yaml", "lookup"]

MOST_LISTED = 10


@task(mode="blocking")
def load_yaml(path: str | PathLike[str]) -> Any:
    """Read a YAML file (UTF-8) with one document, as plain data: tags that would make objects are errors.

    So is a key that a mapping has twice: one of its values would be lost.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, asks for an object or has a key twice; the message has the line.
    """
    try:
        import yaml
    except ImportError as error:
        raise missing("cs.load_yaml", "yaml", "yaml") from error

    text = Path(path).read_bytes()
    try:
        return yaml.load(text, _loader())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} cannot be read as YAML: {error}") from error


@cache
def _loader() -> Any:
    """Return PyYAML's safe loader, which takes a key that stands there twice for no mistake, with one that does."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)  # before keys are merged in by `<<`, which may be overridden
            seen = set()
            for name, _ in node.value:
                if isinstance(name, yaml.ScalarNode) and name.tag != "tag:yaml.org,2002:merge":
                    key = self.construct_object(name)
                    if key in seen:
                        raise yaml.constructor.ConstructorError(
                            "in a mapping", node.start_mark, f"the key {key!r} stands there twice", name.start_mark
                        )
                    seen.add(key)
            return node

    return Loader


@task
def lookup(source: Any, key: Any, *, default: Any = UNSET) -> Any:
    """Take a value out of nested dicts and lists.

    Args:
        source: a dict (any mapping) or list.
        key: a key, an index, or a way of several: `"databases.main.port"`, `"servers.0"`, or a list of keys. A str that
            is a key as it stands is taken as that.
        default: what to return where there is nothing; by default that is an error.

    Raises:
        LookupError: there is nothing; the message says how far the way leads, and what is there.
    """
    value = source
    done: list[Any] = []
    for part in _way(source, key):
        try:
            value = _step(value, part)
        except LookupError:
            if default is not UNSET:
                return default
            at = ".".join(map(str, done)) or "the source"
            raise LookupError(f"cs.lookup: {at} has no {part!r} (of {key!r}); {_what(value)}") from None
        done.append(part)
    return value


def _way(source: Any, key: Any) -> list[Any]:
    if isinstance(key, (list, tuple)):
        return list(key)
    if isinstance(key, str) and not (isinstance(source, Mapping) and key in source):
        return key.split(".")
    return [key]


def _step(value: Any, part: Any) -> Any:
    if isinstance(value, Mapping):
        if part not in value and isinstance(part, str) and part.lstrip("-").isdigit():
            part = int(part)  # YAML and Python have numbers as keys
        return value[part]
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if isinstance(part, str):
            if not part.lstrip("-").isdigit():
                raise LookupError
            part = int(part)
        return value[part]
    raise LookupError


def _what(value: Any) -> str:
    if isinstance(value, Mapping):
        keys = [repr(key) for key in list(value)[:MOST_LISTED]]
        return f"its keys are {', '.join(keys)}{', ...' if len(value) > MOST_LISTED else ''}" if keys else "it is empty"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return f"it is a list of {len(value)}"
    return f"it is a {type(value).__name__}"
