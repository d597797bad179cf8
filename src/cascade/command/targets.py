"""Finds what FILE[:TARGET] names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from cascade.adapters.schedules.schedule import Schedule
from cascade.app.flow import Flow
from cascade.app.programs import blueprint_of
from cascade.app.schedules import schedule_of
from cascade.app.words import say
from cascade.command.misuse import Misuse, close_to, user_traceback
from cascade.errors import CascadeError, ParameterError
from cascade.graph.nest import nest_of
from cascade.runtime.engine import Engine
from cascade.runtime.plans.inputs import check_given
from cascade.runtime.plans.plan import prepare
from cascade.spec.blueprint import Blueprint
from cascade.spec.inputs import Input
from cascade.spec.lazy import Lazy
from cascade.spec.task import Task

__all__ = ["Served", "find_all", "find_served", "find_target", "full_name", "load"]

USUAL = ("flow", "main", "target")
"""Names that are taken where none is given, in this order."""
MOST_LISTED = 20


def find_target(spelled: str) -> tuple[str, Any]:
    """Return a target and its name: the one that FILE:TARGET names, or the obvious one of FILE.

    Raises:
        Misuse: there is none, or more than one.
    """
    file, name = _split(spelled)
    module = load(file)
    if name:
        return name, _named(module, file, name)
    found = _ends(_candidates(module))
    for usual in USUAL:
        if usual in found and len(found) > 1:
            return usual, found[usual]
    if len(found) > 1:
        listed = [f"  {file}:{each}" for each in found]
        more = [f"  ... ({len(found) - MOST_LISTED})"] if len(found) > MOST_LISTED else []
        raise Misuse(say("many_targets", file=file, count=len(found), names="\n".join(listed[:MOST_LISTED] + more)))
    if found:
        return next(iter(found.items()))
    for usual in USUAL:
        if _is_maker(getattr(module, usual, None)):
            return usual, _named(module, file, usual)
    makers = _makers(module)
    if len(makers) > 1:
        listed = [f"  {file}:{each}" for each in makers[:MOST_LISTED]]
        raise Misuse(say("many_targets", file=file, count=len(makers), names="\n".join(listed)))
    if makers:
        return makers[0], _named(module, file, makers[0])
    if (askers := _makers(module, asking=True)) and (name := _likely(askers)):
        raise Misuse(
            say("no_targets_but_makers", file=file, names=", ".join(askers[:MOST_LISTED]), call=f"{name}(...)")
        )
    tasks = {key: value for key, value in vars(module).items() if _is_own_task(module, value)}
    if tasks:
        named = ", ".join(list(tasks)[:MOST_LISTED])
        likely = _likely([*tasks])
        raise Misuse(say("no_targets_but_tasks", file=file, names=named, call=_call_of(likely, tasks[likely])))
    raise Misuse(say("no_targets", file=file))


def _is_own_task(module: ModuleType, value: Any) -> bool:
    return isinstance(value, Task) and getattr(value, "__module__", None) == module.__name__


def _call_of(name: str, task: Task[Any, Any]) -> str:
    """Spell a call of a task: `name(...)`, or `name()` where it needs nothing."""
    needs = task.shape is None or any(each not in task.shape.defaults for each in task.shape.names)
    return f"{name}(...)" if needs else f"{name}()"


def find_all(spelled: str) -> dict[str, Any]:
    """Return the target that is named, or all of a file that do not feed each other, by name."""
    file, name = _split(spelled)
    if not name:
        module = load(file)
        found = _ends(_candidates(module))
        if found:
            return found
        makers = _makers(module)
        if makers:
            return {each: _named(module, file, each) for each in makers}
    return dict([find_target(spelled)])


def full_name(spelled: str, name: str) -> str:
    """Return what a target that was found is called everywhere: `/path/of/file.py:name`.

    What is in a package keeps the name of its module, as it may not be imported by its file.
    """
    file, _ = _split(spelled)
    if not Path(file).is_file():
        module = sys.modules[file]
        place = getattr(module, "__file__", None)
        if "." in file or not place or hasattr(module, "__path__"):
            return f"{file}:{name}"
        file = place
    return f"{Path(file).resolve()}:{name}"


def _split(spelled: str) -> tuple[str, str]:
    if Path(spelled).exists():
        return spelled, ""
    file, colon, name = spelled.rpartition(":")
    if colon and file and not (len(file) == 1 and name[:1] in "\\/"):  # a drive of Windows
        return file, name
    return spelled, ""


def load(file: str) -> ModuleType:
    """Import a file, or a module by its name.

    Raises:
        Misuse: it is not there, or raises an error.
    """
    path = Path(file)
    if path.is_dir():
        raise Misuse(say("a_folder", file=file))
    is_file = path.is_file()
    if not is_file and (path.suffix == ".py" or not all(part.isidentifier() for part in file.split("."))):
        folder = path.parent
        known = sorted(each.name for each in folder.glob("*.py")) if folder.is_dir() else []
        hint = close_to(path.name, known, "")
        raise Misuse("; ".join(filter(None, [say("no_file", file=file), hint])))
    here = str(path.resolve().parent) if is_file else str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return _from_file(path) if is_file else importlib.import_module(file)
    except ModuleNotFoundError as error:
        if not is_file and error.name and (file == error.name or file.startswith(f"{error.name}.")):
            raise Misuse(say("no_module", file=file)) from None
        raise Misuse(say("file_raised", file=file), user_traceback(error)) from None
    except (Exception, SystemExit) as error:
        raise Misuse(say("file_raised", file=file), user_traceback(error)) from None


def _from_file(path: Path) -> ModuleType:
    name = path.stem if path.stem.isidentifier() else "workflow"
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) == str(path.resolve()):
            return known
        name = f"{name}_workflow"  # it must not take the place of a module that something else needs
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:  # not .py
        loader = importlib.machinery.SourceFileLoader(name, str(path.resolve()))
        spec = importlib.util.spec_from_file_location(name, path.resolve(), loader=loader)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _is_target(value: Any, depth: int = 3) -> bool:
    if isinstance(value, Lazy):
        return not isinstance(value, Input)
    if isinstance(value, (Blueprint, Flow)):
        return True
    if isinstance(value, dict):
        value = list(value.values())
    return depth > 0 and type(value) in (list, tuple) and any(_is_target(each, depth - 1) for each in value)


def _is_maker(value: Any) -> bool:
    """Say whether this is a function that can be called without arguments, and does not say that it returns nothing."""
    if not inspect.isfunction(value) or inspect.iscoroutinefunction(value):
        return False
    signature = inspect.signature(value)
    if signature.return_annotation in (None, "None"):
        return False
    given = signature.parameters.values()
    return all(each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in given)


def _likely(names: list[str]) -> str:
    """Return the name that is usual for a target, else that of what was declared last."""
    return next((usual for usual in USUAL if usual in names), names[-1])


def _makers(module: ModuleType, asking: bool = False) -> list[str]:
    """Return the functions of a module that say that they return lazy results, and need nothing for it (or do)."""
    found = []
    for name, value in vars(module).items():
        if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module.__name__:
            continue
        if _is_maker(value) is not asking:
            gives = str(inspect.signature(value).return_annotation)
            if "LazyResult" in gives or "MappedResult" in gives:
                found.append(name)
    return found


def _candidates(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_") and _is_target(value)}


def _ends(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out what other targets read, and further names of the same; all of it if nothing would be left."""
    unique = {id(value): name for name, value in reversed(found.items())}
    found = {name: value for name, value in found.items() if unique[id(value)] == name}
    if len(found) < 2:
        return found
    read: set[int] = set()
    for value in found.values():
        read.update(id(node) for node in _nodes(value) if node is not value)
    return {name: value for name, value in found.items() if id(value) not in read} or found


def _nodes(target: Any) -> Iterator[Any]:
    try:
        blueprint = blueprint_of(target)
    except (CascadeError, TypeError):  # it will be told when this one is used
        return
    if blueprint is not None:
        for graph in nest_of(blueprint).graphs:
            yield from graph.nodes
    if isinstance(target, Flow):
        yield target.target


def _named(module: ModuleType, file: str, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            known = [
                each
                for each, one in vars(module).items()
                if not each.startswith("_")
                and (_is_target(one) or (_is_maker(one) and one.__module__ == module.__name__))
            ]
            listed = say("the_targets", names=", ".join(known[:MOST_LISTED])) if known else say("no_targets", file=file)
            raise Misuse(f"{say('no_target', file=file, name=name)}; {close_to(name, known, listed)}")
        value = getattr(value, part)
    if _is_target(value):
        return value
    if _is_maker(value):
        try:
            made = value()
        except Exception as error:
            raise Misuse(say("target_raised", file=file, name=name), user_traceback(error)) from None
        if _is_target(made):
            return made
        if inspect.iscoroutine(made):
            made.close()
        raise Misuse(say("not_a_target", file=file, name=f"{name}()", what=_short(made)))
    if isinstance(value, Task):
        raise Misuse(say("not_called", file=file, name=name, call=_call_of(name, value)))
    raise Misuse(say("not_a_target", file=file, name=name, what=_short(value)))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


# --- what a server of some files can run


class Served(NamedTuple):
    """What the files of a server hold."""

    programs: dict[str, Any]
    """Targets, by all their names: with the path of the file, with what was typed, with the file's name alone."""
    shown: list[str]
    """One name of each, for people."""
    blueprints: dict[str, Blueprint]
    """What engines in the files have registered, by id; it is among the programs."""
    schedules: dict[str, Schedule]
    """When programs are run by the clock, by one name of each."""


def find_served(files: list[str]) -> Served:
    """Load files, and return what is in them.

    Raises:
        Misuse: a file is not there, or has nothing to run; or two targets have one name.
    """
    served = Served({}, [], {}, {})
    for spelled in files:
        file, module, targets = _module_and_targets(spelled)
        known = {
            key: each
            for value in vars(module).values()
            if isinstance(value, Engine)
            for key, each in value.blueprints.items()
        }
        if not targets and not known:
            raise Misuse(say("no_targets", file=file))
        for name, target in targets.items():
            program = target.target if isinstance(target, Flow) else target
            for each in _names(file, module, name):
                _add(served.programs, each, program)
            served.shown.append(f"{Path(file).name}:{name}")
            said = schedule_of(attrgetter(name)(module)) or schedule_of(target)
            if said is not None:
                _check_alone(served.shown[-1], program)
                served.schedules[served.shown[-1]] = said
        for name, blueprint in known.items():
            _add(served.programs, name, blueprint)
            served.blueprints[name] = blueprint
            served.shown.append(name)
    return served


def _check_alone(name: str, program: Any) -> None:
    """Raise Misuse for a program that needs parameters, which nobody gives it who runs it by the clock."""
    plan = prepare(program, None)
    try:
        check_given([] if plan is None else plan.params.values(), {})
    except ParameterError as error:
        raise Misuse(say("schedule_needs", name=name, error=error)) from None


def _names(file: str, module: ModuleType, name: str) -> set[str]:
    full = full_name(file, name)
    place = full.rpartition(":")[0]
    found = {full, f"{file}:{name}"}
    if place.endswith(".py"):
        found.add(f"{Path(place).name}:{name}")
    return found


def _add(programs: dict[str, Any], name: str, program: Any) -> None:
    if programs.setdefault(name, program) is not program:
        raise Misuse(say("served_twice", name=name))


def _module_and_targets(spelled: str) -> tuple[str, ModuleType, dict[str, Any]]:
    """Return a file, its module, and its targets by name: the one that is named, or all of it, read by others or not.

    A function counts if it says that it returns a lazy result, and is called.

    Raises:
        Misuse: there is no such file or target.
    """
    file, name = _split(spelled)
    module = load(file)
    if name:
        return file, module, {name: _named(module, file, name)}
    makers = _makers(module)
    makers += [each for each, value in vars(module).items() if _is_maker(value) and schedule_of(value) is not None]
    return file, module, _candidates(module) | {each: _named(module, file, each) for each in dict.fromkeys(makers)}
