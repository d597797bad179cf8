"""Texts and dicts made of the values of a run: templates, `str.format`, `dict`."""

from __future__ import annotations

import builtins
import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from cascade.providers.extras import missing
from cascade.spec.task import task

__all__ = ["dict", "format", "template"]


@task
def template(text: str, /, context: Mapping[str, Any] | None = None, **values: Any) -> str:
    """Fill in a Jinja template.

    It is rendered in Jinja's sandbox, which reaches no private attributes and changes no value it is given. A
    name without a value is an error, and nothing is escaped: for HTML write `{{ name | e }}`.

    Args:
        text: the template itself; `cs.read.text(path)` reads one from a file.
        context: values by name in a dict, for names that are not known here or that no keyword can be.
        values: by name; they win over those of the context.

    Raises:
        TypeError: the context is no dict.
        jinja2.TemplateError: the template is wrong, a value is missing, or it asks for what the sandbox forbids.
    """
    if context is not None and not isinstance(context, Mapping):
        raise TypeError(
            f"the context of cs.template is a dict of values by name, not {context!r}; "
            'a value that is itself called so is given as context={"context": ...}'
        )
    rendered: str = _compiled(text).render({**(context or {}), **values})
    return rendered


@lru_cache(maxsize=256)
def _compiled(text: str) -> Any:
    try:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise missing("cs.template", "jinja2", "template") from error

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(text)


class _Formatter(string.Formatter):
    """`str.format` without the way from a value to the program: no private attributes."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if any(part.startswith("_") for part in field_name.replace("[", ".").split(".")[1:]):
            raise ValueError(f"cs.format reads no private attributes, and {field_name!r} names one")
        return super().get_field(field_name, args, kwargs)


@task
def format(text: str, /, *args: Any, **kwargs: Any) -> str:
    """Return `text.format(*args, **kwargs)`, where no field may name a private attribute.

    Raises:
        IndexError, KeyError: a field has no value.
        ValueError: the text is no format, or a field names a private attribute.
    """
    return _Formatter().vformat(text, args, kwargs)


@task
def dict(*args: Any, **kwargs: Any) -> builtins.dict[Any, Any]:
    """Return `dict(*args, **kwargs)` of values that the run has."""
    return builtins.dict(*args, **kwargs)
