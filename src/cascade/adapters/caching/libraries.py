"""What stands for the objects of libraries in a key, which of them are services, and which hide what they hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context
from functools import lru_cache
from typing import Any

from cascade.adapters.caching.places import is_own_class
from cascade.adapters.caching.refusals import Service, name_of
from cascade.adapters.caching.schemas import adapter_content

__all__ = ["Rule", "hidden_by", "is_service", "rule_for"]

Rule = Callable[[Any, bool], Any]
"""Takes an object, and whether code reaches it (rather than that it is an argument); returns what stands for it."""

SERVICES = frozenset(
    {
        *("_asyncio", "_io", "_queue", "_socket", "_sqlite3", "_ssl", "_thread", "_weakref", "_weakrefset"),
        *(
            "anyio",
            "asyncio",
            "concurrent",
            "http.client",
            "http.server",
            "io",
            "mmap",
            "multiprocessing",
            "queue",
            "sched",
            "select",
        ),
        *("selectors", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "trio"),
        *("sqlalchemy.orm", "unittest", "weakref"),
    }
)
"""Packages whose objects do something: locks, threads, pools, queues, event loops, files, connections, mocks."""
SERVICES_BY_NAME = frozenset(
    {
        *("builtins:frame", "builtins:traceback", "os:_Environ", "random:SystemRandom"),
    }
)
WEAK = frozenset(
    {
        *("_weakrefset:WeakSet", "weakref:CallableProxyType", "weakref:ProxyType", "weakref:ReferenceType"),
        *("weakref:WeakKeyDictionary", "weakref:WeakValueDictionary"),
    }
)
LAZY = frozenset({"__weakref__", "code", "description", "lasti", "plan"})
"""What says nothing of what a lazy value is, but where it was declared and what is known of it."""
HASHES = frozenset({"_blake2", "_hashlib", "_hmac", "_md5", "_sha1", "_sha2", "_sha256", "_sha3", "_sha512"})


@lru_cache(maxsize=1024)
def is_service(cls: type) -> bool:
    """Say whether the objects of a class do something rather than hold something."""
    if is_own_class(cls):
        return False
    names = (name_of(base) for base in cls.__mro__[:-1])
    return any(name in SERVICES_BY_NAME or not SERVICES.isdisjoint(_packages(name)) for name in names)


@lru_cache(maxsize=1024)
def hidden_by(cls: type) -> str:
    """Return why a key cannot see what the objects of a class hold, if that is so."""
    if not WEAK.isdisjoint(map(name_of, cls.__mro__)):
        return f"a {cls.__name__} holds weakly what others may let go at any time"
    if cls.__module__.partition(".")[0] not in sys.stdlib_module_names or is_service(cls):
        return ""
    if any(hasattr(cls, name) for name in ("__next__", "__anext__", "__await__")) and not is_own_class(cls):
        return f"a {cls.__name__} gives what it holds but once, and is spent by reading it"
    return ""


def _packages(name: str) -> tuple[str, ...]:
    """Return the package that a class is of, and the one within that."""
    words = name.partition(":")[0].split(".")
    return words[0], ".".join(words[:2])


@lru_cache(maxsize=1024)
def rule_for(cls: type) -> Rule | None:
    """Return what says what stands for the objects of a class, if there is a rule for it or a base."""
    for base in cls.__mro__[:-1]:
        name = name_of(base)
        found = RULES.get(name)
        if found is not None:
            return found
        if name.partition(":")[0] in HASHES:
            return _hash
    return None


def _attributes(*names: str) -> Rule:
    def rule(value: Any, reached: bool) -> Any:
        return [getattr(value, name) for name in names]

    return rule


def _settings(*names: str) -> Rule:
    """Return a rule for a client: what it was told counts, and not what it did since; it is no value to call with."""

    def rule(value: Any, reached: bool) -> Any:
        if not reached:
            raise Service(f"a {type(value).__name__} is a service, whose content cannot be seen")
        return {name: getattr(value, name, None) for name in names}

    return rule


def _buffer(value: Any, reached: bool) -> Any:
    """Return what is in a buffer; how far it was read is what reached code does to it itself."""
    return value.getvalue() if reached else (value.getvalue(), value.tell())


def _context_variable(value: Any, reached: bool) -> Any:
    """Return the name and the default of a context variable; its value is that of a moment."""
    if not reached:
        raise Service("a ContextVar has another value in each context")
    try:
        default = (Context().run(value.get),)
    except LookupError:
        default = None
    return value.name, default


def _lazy(value: Any, reached: bool) -> Any:
    """Return what a lazy value was declared as, but not where."""
    names = {name for base in type(value).__mro__ for name in vars(base).get("__slots__", ())} - LAZY
    return {name: getattr(value, name, None) for name in names}


def _hash(value: Any, reached: bool) -> Any:
    length = (32,) if "shake" in value.name else ()
    return value.name, value.digest(*length)


def _template(value: Any, reached: bool) -> Any:
    """Return what a template of jinja2 was compiled to; files that it includes are not seen."""
    blocks = {name: block.__code__ for name, block in value.blocks.items()}
    return [value.name, value.root_render_func.__code__, blocks, value.environment, dict(value.globals)]


def _environment(value: Any, reached: bool) -> Any:
    """Return the settings of an environment of jinja2, without the templates that it has loaded."""
    return {name: getattr(value, name, None) for name in ENVIRONMENT} | {"extensions": sorted(value.extensions)}


def _column(value: Any, reached: bool) -> Any:
    """Return what a column of SQLAlchemy was declared as."""
    defaults = [getattr(getattr(value, name), "arg", None) for name in ("default", "onupdate", "server_default")]
    keys = sorted(key.target_fullname for key in value.foreign_keys)
    flags = [value.name, value.key, value.primary_key, value.nullable, value.unique, value.index]
    return [flags, type(value.type), repr(value.type), defaults, keys]


ENVIRONMENT = (
    *("block_start_string", "block_end_string", "variable_start_string", "variable_end_string"),
    *("comment_start_string", "comment_end_string", "line_statement_prefix", "line_comment_prefix", "trim_blocks"),
    *("lstrip_blocks", "newline_sequence", "keep_trailing_newline", "undefined", "finalize", "autoescape"),
    *("optimized", "loader", "filters", "tests", "globals", "policies", "is_async"),
)
_CLIENT = _settings(
    *("base_url", "headers", "params", "timeout", "follow_redirects", "max_redirects", "trust_env", "auth")
)
RULES: dict[str, Rule] = {
    "_contextvars:ContextVar": _context_variable,
    "_io:BytesIO": _buffer,
    "_io:StringIO": _buffer,
    "_struct:Struct": _attributes("format"),
    "builtins:dict_items": lambda value, reached: dict(value),
    "builtins:dict_keys": lambda value, reached: set(value),
    "builtins:dict_values": lambda value, reached: list(value),
    "builtins:memoryview": lambda value, reached: [value.format, value.shape, value.readonly, value.tobytes()],
    "cascade.spec.lazy:Lazy": _lazy,
    "functools:singledispatchmethod": _attributes("dispatcher", "func"),
    "httpx:AsyncClient": _CLIENT,
    "httpx:Client": _CLIENT,
    "httpx:Headers": _attributes("raw"),
    "jinja2.environment:Environment": _environment,
    "jinja2.environment:Template": _template,
    "pydantic.type_adapter:TypeAdapter": lambda value, reached: adapter_content(value),
    "re:Match": _attributes("re", "string", "pos", "endpos", "regs"),
    "requests.sessions:Session": _settings("headers", "params", "auth", "verify", "cert", "proxies", "max_redirects"),
    "sqlalchemy.engine.base:Engine": _settings("url"),
    "sqlalchemy.ext.asyncio.engine:AsyncEngine": _settings("url"),
    "sqlalchemy.sql.schema:Column": _column,
    "sqlalchemy.sql.schema:MetaData": lambda value, reached: dict(value.tables),
    "sqlalchemy.sql.schema:Table": lambda value, reached: [value.name, value.schema, list(value.columns)],
    "sqlite3:Row": lambda value, reached: (value.keys(), tuple(value)),
    "typing:NewType": _attributes("__module__", "__qualname__", "__supertype__"),
    "typing:TypeAliasType": _attributes("__name__", "__value__"),
}
"""By `module:qualified name` of a class."""
