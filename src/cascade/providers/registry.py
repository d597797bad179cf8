"""Finds providers by name: those that come with Cascade, those registered by programs, those of plugins."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from keyword import iskeyword
from types import ModuleType
from typing import Any

from cascade.providers.extras import missing
from cascade.spec.keywords import hint_for_name

__all__ = ["GROUP", "find", "names", "register", "unregister"]

GROUP = "cascade.providers"

HERE = {
    "dict": ("cascade.providers.text", "dict", ()),
    "format": ("cascade.providers.text", "format", ()),
    "fs": ("cascade.providers.fs", None, ()),
    "http": ("cascade.providers.http", None, ("httpx",)),
    "io": ("cascade.providers.io", None, ()),
    "ipfs": ("cascade.providers.ipfs", None, ("httpx",)),
    "load_yaml": ("cascade.providers.config", "load_yaml", ("yaml",)),
    "lookup": ("cascade.providers.config", "lookup", ()),
    "read": ("cascade.providers.read", None, ()),
    "recv": ("cascade.providers.waiting", "recv", ()),
    "shell": ("cascade.providers.shell", "shell", ()),
    "sql": ("cascade.providers.sql", "sql", ("sqlalchemy",)),
    "template": ("cascade.providers.text", "template", ("jinja2",)),
    "wait_signal": ("cascade.providers.waiting", "wait_signal", ()),
    "wait": ("cascade.providers.waiting", "wait", ()),
    "write": ("cascade.providers.write", None, ()),
}
"""By name: the module, what of it (None: the module itself), and the packages that it needs."""
EXTRAS = {"httpx": "http", "jinja2": "template", "sqlalchemy": "sql", "yaml": "yaml"}


_registered: dict[str, Any] = {}


def register(name: str, provider: Any) -> None:
    """Have `cs.<name>` give a provider of this process, as an entry point of an installed package would.

    A provider is a task, or a module or other object that holds tasks. Of one name the last one registered counts,
    before those of plugins.

    Raises:
        ValueError: no name that can be written so, or one that comes with Cascade.
    """
    front = vars(sys.modules["cascade"])
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name) or name.startswith("_"):
        raise ValueError(f"a provider is registered under a name that can be written as cs.<name>, not {name!r}")
    if name in HERE or name in front["__all__"] or isinstance(front.get(name), ModuleType):
        raise ValueError(f"cs.{name} comes with Cascade, and no other provider can take its place")
    _registered[name] = provider
    front.pop(name, None)  # what was found under this name before


def unregister(name: str) -> None:
    """Take away what was registered under a name. Raises KeyError if nothing was."""
    del _registered[name]
    vars(sys.modules["cascade"]).pop(name, None)


def find(name: str) -> Any:
    """Return the provider of this name.

    Raises:
        AttributeError: there is none, or its plugin is broken (which is a RuntimeWarning as well).
        MissingExtraError: it needs packages that are not installed.
    """
    known = HERE.get(name)
    if known is not None:
        module, attribute, packages = known
        for package in packages:
            if find_spec(package) is None:
                raise missing(f"cs.{name}", package, EXTRAS[package])
        found = import_module(module)
        return found if attribute is None else getattr(found, attribute)
    if name in _registered:
        return _registered[name]
    if not name.startswith("_"):
        for plugin in _plugins(name):
            try:
                return plugin.load()
            except Exception as error:
                said = (
                    f"the provider {name!r} of the plugin {plugin.value!r} is broken: {type(error).__name__}: {error}"
                )
                warnings.warn(said, RuntimeWarning, stacklevel=3)
                raise AttributeError(f"module 'cascade' has no attribute {name!r}: {said}") from error
    hint = "" if name.startswith("_") else hint_for_name(name, [*names(), *vars(sys.modules["cascade"])["__all__"]])
    raise AttributeError(f"module 'cascade' has no attribute {name!r}{hint}")


def names() -> list[str]:
    """Return the names of all providers, also of those whose packages are not installed; loads none."""
    return sorted({*HERE, *_registered, *(plugin.name for plugin in _plugins())})


def _plugins(name: str | None = None) -> Iterable[Any]:
    from importlib.metadata import entry_points

    try:
        return entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name)
    except Exception as error:  # the metadata of some package cannot be read
        warnings.warn(f"the plugins of {GROUP!r} cannot be listed: {error}", RuntimeWarning, stacklevel=4)
        return ()
