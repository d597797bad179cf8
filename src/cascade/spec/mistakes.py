"""What is easily given by mistake in the place of a value, and would go unnoticed or come out as something else."""

from __future__ import annotations

from types import BuiltinFunctionType, CoroutineType, FunctionType, GeneratorType, MethodType
from typing import Any

from cascade.spec.containers import REMADE, VIEWS, held, holds
from cascade.spec.refusals import NoValue
from cascade.spec.signature import declared_at

__all__ = [
    "ATOMS",
    "NO_OPTIONS_OF_TASKS",
    "check_argument",
    "check_choice",
    "check_target",
    "find_lazy",
    "hint_for",
    "is_searched",
    "may_hide",
    "is_task",
    "no_attribute_of_task",
    "refuse_hidden",
    "refuse_code",
    "refuse_uncalled",
]

RECORDS = ("__dataclass_fields__", "__pydantic_fields__", "__attrs_attrs__", "__struct_fields__")
"""Where the classes of records name their fields: of the standard library, pydantic, attrs and msgspec."""
MOST_LOOKS = 200
"""So many fields and items of one argument are looked at: a call is to cost nothing."""
OPTIONS_OF_CALLS = (
    "named",
    "with_budget",
    "with_cache",
    "with_constraints",
    "with_hooks",
    "with_retry",
    "with_timeout",
)
NO_OPTIONS_OF_TASKS = (
    *("after", "run_if", "starmap", *OPTIONS_OF_CALLS),
    *("apply", "apply_async", "compute", "delay", "remote", "result", "run", "spawn", "submit"),
)
"""What calls have and tasks have not, or the tasks of other libraries."""
FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType)
READ_ONCE = (GeneratorType, map, filter, zip)
ATOMS = frozenset({int, str, float, bool, type(None), bytes, complex})
SEARCHED = frozenset({list, tuple, dict, set, frozenset, *REMADE.values()})


def is_searched(value: Any) -> bool:
    """Say whether lazy values are looked for in it when the graph is built; in sets to refuse them."""
    cls = value.__class__
    return cls in SEARCHED or (isinstance(value, tuple) and hasattr(cls, "_fields"))


def may_hide(cls: Any) -> bool:
    """Say whether lazy values may be in instances of a class that is not searched: a record, or a container."""
    return holds(cls) or is_record(cls)


def is_record(cls: Any) -> bool:
    """Say whether instances of a class are records: dataclasses, pydantic models and the like."""
    return any(hasattr(cls, mark) for mark in RECORDS)


def find_lazy(value: Any, most: int = MOST_LOOKS) -> tuple[str, NoValue] | None:
    """Return what has no value yet in a record or a container, also in those in it, and the way to it.

    Args:
        most: so many things are looked at; a record that is larger is trusted.
    """
    stack: list[tuple[str, Any]] = [("", value)]
    for _ in range(most):
        if not stack:
            break
        way, at = stack.pop()
        if isinstance(at, NoValue):
            return way, at
        cls = type(at)
        if cls in ATOMS:
            continue
        if holds(cls):
            stack += [(way + on, item) for on, item in held(at, most) if type(item) not in ATOMS]
        elif is_record(cls):
            stack += [(f"{way}.{name}", getattr(at, name, None)) for name in _fields(cls)]
    return None


def _fields(cls: Any) -> list[str]:
    for mark in RECORDS:
        fields = getattr(cls, mark, None)
        if fields is not None:
            return [field if isinstance(field, str) else field.name for field in fields]
    return []


def check_argument(value: Any, who: object) -> None:
    """Raise TypeError for an argument that is a run, or a record or container that has something without a value in it.

    Args:
        who: the task that it is given to, for the message: what shows it costs nothing before there is one.
    """
    if isinstance(value, NoValue):
        if not getattr(value, "is_lazy", False):
            raise TypeError(f"{who!s} is given {value!r}, which is a run and not its value: value = await run")
        return
    if not is_searched(value) and may_hide(type(value)):
        refuse_hidden(value, who)


def refuse_hidden(value: Any, who: object, most: int = MOST_LOOKS) -> None:
    """Raise TypeError if there is something in a value that has no value yet and would never get one."""
    found = find_lazy(value, most)
    if found is None:
        return
    way, lazy = found
    if lazy is value:
        raise TypeError(
            f"{who!s} is {lazy!r}, which has no value and gets none while the graph runs: "
            "make a list of them, which is read when the graph is built"
        )
    name = type(value).__name__
    if type(value) in VIEWS or is_searched(value):
        instead = "give the lazy values to a task in a list, a tuple or a dict"
    else:
        instead = f"make the {name} while running: cs.task({name})(...), with the lazy value as an argument"
    raise TypeError(
        f"{who!s} is given a {name} with {lazy!r} in it, as {name}{way}: only lists, tuples and dicts are searched "
        f"for lazy values (and {', '.join(REMADE)}), so it would never get its value; {instead}"
    )


def check_choice(value: Any, who: str, write: str) -> None:
    """Raise TypeError for a condition or a selector that is a function, a task, a coroutine or a run.

    Args:
        who: what it is given to, for the message.
        write: the right line, with `{}` for the call of it.
    """
    if isinstance(value, NoValue):
        if not getattr(value, "is_lazy", False):
            raise TypeError(f"{who} is given {value!r}, which is a run and not its value: value = await run")
        return
    name, described = _named(value)
    if is_task(value):
        right = f"it was not called; did you mean {write.format(f'{name}(...)')}?"
    elif isinstance(value, CoroutineType):
        value.close()
        right = f"nobody awaits it; make the function a task (@cs.task), and write {write.format('task(...)')}"
    elif callable(value):
        as_task = name if name.isidentifier() else "function"
        right = (
            f"it would never be called, and always count as true; make it a task and call that: "
            f"{write.format(f'cs.task({as_task})(...)')}"
        )
    else:
        return
    raise TypeError(f"{who} is given {described} itself: {right}")


def refuse_uncalled(value: Any, who: str) -> None:
    """Raise TypeError for a task that was not called; `cs.Value(task)` passes one."""
    if is_task(value):
        name, _ = _named(value)
        raise TypeError(
            f"{who} is given the task {name!r} itself as an argument: "
            f"did you mean {name}()? (cs.Value({name}) passes the task itself)"
        )


def refuse_code(value: Any, who: str) -> None:
    """Raise TypeError for a function or coroutine that nobody calls or awaits; `cs.Value(function)` passes one."""
    if isinstance(value, CoroutineType):
        name, described = _named(value)
        value.close()
        raise TypeError(
            f"{who} is given {described}, which nobody awaits; make the function a task (@cs.task), and give its call"
        )
    if isinstance(value, FUNCTIONS):
        name, described = _named(value)
        as_task = name if name.isidentifier() else "function"
        raise TypeError(
            f"{who} is given {described}, which would not be called; make it a task and call that: "
            f"cs.task({as_task})(...) (cs.Value({as_task}) gives the function itself)"
        )


def hint_for(value: Any) -> str:
    """Return a question to end a message with, if a task was not called."""
    return f"; did you mean {_named(value)[0]}()?" if is_task(value) else ""


def check_target(target: Any, who: str) -> None:
    """Raise TypeError for what is easily taken for a target: a function, task, coroutine, run or compiled flow."""
    if getattr(type(target), "is_lazy", False) is True:
        return
    name, described = _named(target)
    if is_task(target):
        raise TypeError(f"{target!r} was not called, so there is nothing to run yet; did you mean {name}()?")
    if isinstance(target, NoValue):
        raise TypeError(f"{who} is given {target!r}, which is going on already: value = await run")
    if isinstance(target, CoroutineType):
        target.close()
        raise TypeError(
            f"{who} is given {described}: it runs lazy results; make the function a task (@cs.task) and call it, or "
            "asyncio.run(...) it"
        )
    elif isinstance(target, FUNCTIONS):
        raise TypeError(
            f"{who} is given {described}, which would not be called; a task that was called is a target: "
            f"{who}(cs.task({name})(...))"
        )
    elif isinstance(target, READ_ONCE):
        raise TypeError(f"{who} is given a {type(target).__name__}, which nothing would read: {who}(list(...)) of it")
    elif not isinstance(target, type):
        check_argument(target, who)
    if type(target).__module__ == "cascade.app.flow":
        raise TypeError(f"{who} is given a compiled flow: await it (value = await flow(n=1)), or run its flow.target")


def is_task(value: Any) -> bool:
    """Say whether this is a task, or one with some arguments fixed."""
    return hasattr(type(value), "_fixed") and hasattr(type(value), "partial")


def _named(value: Any) -> tuple[str, str]:
    """Return a name for what can be called, and what it is with its place."""
    if is_task(value):
        task = getattr(value, "task", value)
        return task.name, f"the task {task.name!r} ({task.declared})"
    name = getattr(value, "__qualname__", None) or type(value).__name__
    name = name.rpartition(".")[2]
    if isinstance(value, CoroutineType):
        code = value.cr_code
        return name, f"the coroutine {name!r} ({code.co_filename}:{code.co_firstlineno})"
    return name, f"the function {name!r} ({declared_at(value)})" if isinstance(value, FUNCTIONS) else repr(value)


def no_attribute_of_task(given: Any, name: str) -> AttributeError:
    """Return the error for an attribute that calls of a task have, or tasks of others, and ours has not."""
    spelled = f"{given.name}(...)"
    option = name.removeprefix("with_").replace("named", "name")
    if name == "starmap":
        instead = f"{given.name}.map(...) takes an iterable for each parameter by name"
    elif name in ("after", "run_if"):
        instead = f"it configures one call: {spelled}.{name}(...)"
    elif name in OPTIONS_OF_CALLS:
        instead = f"{spelled}.{name}(...) configures one call, {given.name}.with_options({option}=...) makes a task"
    else:
        instead = f"calling it declares a node, {spelled}, which cs.run(...) or engine.run(...) runs"
    return AttributeError(f"{given!r} has no {name!r}; {instead}")
