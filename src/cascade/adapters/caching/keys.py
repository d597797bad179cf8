"""The key of one call: what its function reaches, its arguments, and what its policy adds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from cascade.adapters.caching.atoms import ATOMS
from cascade.adapters.caching.content import Encoder, Unkeyable, name_of
from cascade.adapters.caching.places import is_own_class, is_own_function
from cascade.adapters.caching.reach import Reach, digest_of
from cascade.errors import CacheError
from cascade.spec.caching import Cached, CacheKey, is_short, mark_of
from cascade.spec.notes import spelled
from cascade.spec.signal import UNSET

__all__ = ["inputs_of", "key_of", "refused", "standing_for"]

MOST_KNOWN = 1024
PYTHON = sys.implementation.cache_tag or sys.version
"""Bytecode says other things on another Python."""
_known: dict[int, Reach] = {}
"""What functions and classes reach that came as arguments; each holds what it is of, so that ids stay theirs."""


def inputs_of(task: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, defaults included; further positional ones as `*0`, `*1`, ..."""
    shape = task.shape
    names = () if shape is None else shape.names
    count = len(args)
    inputs = dict(zip(names, args, strict=False))
    for at in range(len(names), count):
        inputs[f"*{at - len(names)}"] = args[at]
    for name, value in kwargs.items():
        inputs[f"**{name}" if name in inputs or name[:1] == "*" else name] = value
    if shape is not None and (count > len(names) or len(inputs) < len(names) + len(shape.keywords)):
        for name, value in shape.defaults.items():
            inputs.setdefault(name, value)
    return inputs


def key_of(task: Any, args: Any, kwargs: dict[str, Any], policy: Cached) -> CacheKey:
    """Return the key of a call.

    Raises:
        CacheError: an argument has no content that can be seen.
    """
    reach = task.reach
    if reach is None or not reach.is_current():
        reach = task.reach = Reach(task.func)
    mark = mark_of(policy.version, args, kwargs) if policy.key is None else None
    if mark is not None and (known := reach.keys.get(mark)) is not None:
        return known  # type: ignore[no-any-return]
    check_reach(task, reach, policy)
    key = _key(task, reach, args, kwargs, policy)
    if mark is not None and is_short(mark) and _is_told_by_its_arguments(task):
        if len(reach.keys) >= MOST_KNOWN:
            reach.keys.clear()
        reach.keys[mark] = key
    return key


def _key(task: Any, reach: Any, args: Any, kwargs: dict[str, Any], policy: Cached) -> CacheKey:
    spans: list[tuple[str, int]] = []
    encoder = Encoder(standing_for)
    out = encoder.out
    if policy.key is not None:
        _add(encoder, task, "what its key function gives", _own_key(task, policy.key, args, kwargs))
        spans.append(("", len(out)))
    else:
        shape = task.shape
        inputs = inputs_of(task, args, kwargs)
        if shape is not None and shape.names[:1] == ("self",) and args:
            hidden = reach.written_of(type(args[0]))
            if hidden:
                encoder.without = {id(args[0]): set(hidden)}
        defaulted = () if len(inputs) == len(args) + len(kwargs) else [*inputs][len(args) + len(kwargs) :]
        name = ""
        try:
            for name in sorted(inputs):  # by keyword they come in any order
                encoder.lenient = name in defaulted
                encoder.add(inputs[name])
                spans.append((name, len(out)))
                if encoder.refusals and policy.version is None:
                    raise encoder.refusals[0]
        except (Unkeyable, RecursionError) as error:
            raise refused(task, f"argument {name!r}", error) from None
    version = b""
    if policy.version is not None:
        extra = Encoder(standing_for)
        _add(extra, task, "version", policy.version)
        version = bytes(extra.out)
    label = getattr(task, "cache_label", None) or name_of(task.func)
    names = "\0".join(name for name, _ in spans)
    head = f"{PYTHON}\0{label}\0{names}\0".encode("utf-8", "surrogatepass")
    digest = blake2b(head + reach.digest + version + b"\0" + out, digest_size=20).hexdigest()

    def parts() -> dict[str, str]:
        found = {"the version of Python": PYTHON, **reach.parts}
        if version:
            found["version"] = digest_of(version)
        start = 0
        for name, end in spans:
            found[f"argument {name!r}" if name else "what key= gives"] = digest_of(out[start:end])
            start = end
        return found

    return CacheKey(label, digest, parts)


def _is_told_by_its_arguments(task: Any) -> bool:
    """Say whether nothing that may change stands in for arguments that are not given."""
    shape = task.shape
    return shape is None or all(value.__class__ in ATOMS for value in shape.defaults.values())


def _add(encoder: Encoder, task: Any, what: str, value: Any) -> None:
    try:
        encoder.add(value)
    except (Unkeyable, RecursionError) as error:
        raise refused(task, what, error) from None


def refused(task: Any, what: str, error: Exception) -> CacheError:
    """Return the error for a part of a call that has no content to see."""
    reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
    return CacheError(
        f"the cache of task {task.name!r} (declared at {task.declared}) cannot key {what}: {reason}; give "
        "cs.cached(key=...) a function that returns what tells its calls apart, or say by "
        "cs.keys.register(type, function) what stands for such an object"
    )


def check_reach(task: Any, reach: Any, policy: Cached) -> None:
    """Raise CacheError if code reaches what has no content to see, unless a version says when it changes."""
    if reach.refusals and policy.version is None:
        name, error = reach.refusals[0]
        raise CacheError(
            f"the cache of task {task.name!r} (declared at {task.declared}) cannot key {name}, which the task reaches: "
            f"{error}; give cs.cached(version=...) what you change when that changes, or say by "
            "cs.keys.register(type, function) what stands for it"
        )


def _own_key(task: Any, key: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    try:
        value = key(*args, **kwargs)
    except Exception as error:
        raise CacheError(
            f"the key function of the cache of task {task.name!r} (declared at {task.declared}) failed: "
            f"{spelled(error)}; it is called with the arguments of the task"
        ) from error
    if value is UNSET or hasattr(value, "__await__"):
        raise CacheError(f"the key function of the cache of task {task.name!r} is async; make it a plain function")
    return value


def standing_for(value: Any) -> bytes:
    """Return what stands for a function or class in an argument: its name, and of the project's own what it reaches."""
    own = is_own_class(value) if isinstance(value, type) else is_own_function(value) or bool(value.__closure__)
    name = name_of(value).encode("utf-8", "surrogatepass")
    if not own:
        return b"%d:%s" % (len(name), name)
    reach = _known.get(id(value))
    if reach is None or not reach.is_current():
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        reach = _known[id(value)] = Reach(value)
    if reach.refusals:
        part, error = reach.refusals[0]
        raise Unkeyable(f"{name_of(value)} reaches {part}: {error}")
    return b"%d:%s" % (len(name), name) + reach.digest
