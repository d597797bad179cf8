"""JSON -> lazy results: the declarations that a graph was written from, made anew."""

from __future__ import annotations

import json
from collections.abc import Collection
from types import CodeType
from typing import Any

from cascade.graph.hints import decode_type
from cascade.graph.serialize import VERSION, options_of
from cascade.graph.values import decode, named_tuple, resolve
from cascade.spec.compose import SubflowResult, subflow
from cascade.spec.containers import REMADE, Remake
from cascade.spec.control import Router
from cascade.spec.inputs import Env, Input, Param
from cascade.spec.lazy import Lazy, LazyResult, MappedResult
from cascade.spec.policies import SETTINGS, Config, Constraints, OwnConfig
from cascade.spec.selector import JumpSelector
from cascade.spec.signal import UNSET
from cascade.spec.task import Task

__all__ = ["graphs_from_json"]

CONTAINERS = {"list": list, "tuple": tuple, "dict": dict}
OWN_SETTINGS = frozenset({"condition", "otherwise", "after"})
OWN = frozenset({"kind", "at", "task", "graph", "args", "kwargs", "each", "jumps"}) | OWN_SETTINGS
"""What is read of a node by hand; the other keys are settings, or options of a map."""


def graphs_from_json(text: str, allow: Collection[str]) -> Any:
    """Return the target that was written: what `cs.run` takes.

    Raises:
        ValueError: the text is no such form, or of a later version.
        ImportError: a function is in a module that is not allowed, or is not there.
    """
    try:
        form = json.loads(text)
    except RecursionError:
        raise ValueError("cs.from_json: the text is nested too deeply; nothing that cs.to_json writes is") from None
    if not isinstance(form, dict) or form.get("cascade") != "graph":
        raise ValueError('cs.from_json reads what cs.to_json writes; this text has no {"cascade": "graph"}')
    if form.get("version") != VERSION:
        raise ValueError(
            f"cs.from_json reads version {VERSION} of the form; this text is of version {form.get('version')!r}"
        )
    try:
        if "value" in form:
            return decode(form["value"], allow, "the target")
        return _Reader(form, allow).read()
    except (KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"cs.from_json: the text is not whole: {type(error).__name__} {error}") from error


def _nowhere() -> None:
    """Lend a code object to what was declared in another process."""


class _Reader:
    def __init__(self, form: dict[str, Any], allow: Collection[str]) -> None:
        self.form = form
        self.allow = allow
        self.codes: dict[int, CodeType] = {}
        self.tasks = [self.task(each) for each in form["tasks"]]

    def read(self) -> Any:
        """Return the target; sub-flows are made before what they stand in, for they come after it."""
        made: dict[int, Any] = {}
        for at in range(len(self.form["graphs"]) - 1, -1, -1):
            made[at] = _GraphReader(self, self.form["graphs"][at], made).read()
        return made[0]

    def code(self, at: int) -> CodeType:
        """Return a code object that stands where a node was declared."""
        code = self.codes.get(at)
        if code is None:
            file, _, line = self.form["sites"][at].rpartition(":")
            code = self.codes[at] = _nowhere.__code__.replace(co_filename=file, co_firstlineno=int(line))
        return code

    def place(self, lazy: Lazy, at: int) -> None:
        lazy.code, lazy.lasti, lazy.plan = self.code(at), -1, None

    def task(self, form: dict[str, Any]) -> Task[..., Any]:
        what = f"task {form['name']!r} (declared at {self.form['sites'][form['at']]})"
        if form["function"] is None:
            raise ImportError(
                f"{what} cannot be run again: its function {form['described']} cannot be imported by that name, as a "
                "lambda, a local function or an object cannot; define it at the top of a module"
            )
        found = resolve(form["function"], self.allow, what)
        known = Task.__init__.__kwdefaults__ or {}
        options = {name: decode(form[name], self.allow, what) for name in known if name != "name" and name in form}
        if isinstance(found, Task):
            if found.name == form["name"] and options_of(found) == options:
                return found
            found = found.func
        if not callable(found):
            raise ImportError(f"{what} needs the function {form['function']}, which cannot be called")
        return Task(found, name=form["name"], **options)


class _GraphReader:
    """Makes the lazy values of one graph: all of them first, for routes and jumps may lead to later ones."""

    def __init__(self, reader: _Reader, form: dict[str, Any], made: dict[int, Any]) -> None:
        self.reader, self.form, self.made = reader, form, made
        self.allow = reader.allow
        self.inputs = [self.input(each) for each in form["inputs"]]
        self.nodes: list[Any] = []

    def read(self) -> Any:
        for node in self.form["nodes"]:
            self.nodes.append(self.begin(node))
        for form, node in zip(self.form["nodes"], self.nodes, strict=True):
            if form["kind"] in ("task", "map", "subflow"):
                self.finish(form, node)
            elif form["kind"] == "router":
                what = f"a router (declared at {node.declared})"
                node.selector = self.value(form["selector"], what)
                node.routes = {self.key(key, what): self.value(route, what) for key, route in form["routes"]}
                node.default = self.value(form["default"], what) if "default" in form else UNSET
        return self.value(self.form["root"], "the target")

    def value(self, form: Any, what: str) -> Any:
        if form.__class__ is dict and len(form) == 1:
            if "$node" in form:
                return self.nodes[form["$node"]]
            if "$input" in form:
                return self.inputs[form["$input"]]
        return decode(form, self.allow, what)

    def key(self, form: Any, what: str) -> Any:
        return decode(form, self.allow, what)

    def input(self, form: dict[str, Any]) -> Input:
        given: Input = object.__new__(Param if form["kind"] == "param" else Env)
        given.name = form["name"]
        what = f"{given.kind} {given.name!r}"
        given.default = decode(form["default"], self.allow, what) if "default" in form else UNSET
        given.description = form.get("description", "")
        given.secret = form.get("secret", given.sounds_secret(given.name))
        if isinstance(given, Param):
            if form["type"] is None:
                raise ImportError(f"{what} cannot be read again: its type {form['described']} cannot be imported")
            given.become(None if form.get("untyped") else decode_type(form["type"], self.allow, what))
        self.reader.place(given, form["at"])
        return given

    def begin(self, form: dict[str, Any]) -> Any:
        """Make a node without what it reads; a container, with it, for its items come before it."""
        kind = form["kind"]
        if kind == "container":
            return self.container(form)
        if kind == "optional":
            return self.value(form["of"], "the target")
        classes: dict[str, Any] = {"task": LazyResult, "map": MappedResult, "router": Router, "subflow": SubflowResult}
        if kind not in classes:
            raise ValueError(f"cs.from_json: {kind!r} is no kind of node")
        node: Any = object.__new__(classes[kind])
        self.reader.place(node, form["at"])
        if kind != "router":
            node.task = self.reader.tasks[form["task"]] if kind != "subflow" else subflow(None).task
        return node

    def container(self, form: dict[str, Any]) -> Any:
        items = [self.value(item, "an item of a container") for item in form["items"]]
        remade = REMADE.get(form["type"]) if isinstance(form["type"], str) else None
        if form["type"] == "dict" or (remade is not None and "keys" in form):
            keyed = dict(zip([self.key(key, "a key of a dict") for key in form["keys"]], items, strict=True))
            return keyed if remade is None else Remake(remade, self.option(form))(keyed)
        if remade is not None:
            return Remake(remade, self.option(form))(items)
        kind = CONTAINERS.get(form["type"]) if isinstance(form["type"], str) else None
        if kind is not None:
            return kind(items)
        if form["type"]["$ref"] is None:
            raise ImportError(f"a container cannot be made again: its type {form['described']} cannot be imported")
        return named_tuple(form["type"]["$ref"], items, self.allow, "a container")

    def option(self, form: dict[str, Any]) -> Any:
        return decode(form.get("option"), self.allow, "what a container was made with")

    def finish(self, form: dict[str, Any], node: Any) -> None:
        task = node.task
        what = f"task {task.name!r} (declared at {node.declared})"
        args = tuple(self.value(each, what) for each in form.get("args", ()))
        kwargs = {name: self.value(each, what) for name, each in form.get("kwargs", {}).items()}
        node.args, node.kwargs, node.config = args, kwargs or None, None
        settings = {name: value for name, value in form.items() if name not in OWN}
        if isinstance(node, SubflowResult):
            node.target, node.kwargs = self.made[form["graph"]], kwargs
        elif task.shape is not None and not task.shape.takes(len(args), kwargs):
            names = ", ".join([*("_" for _ in args), *(f"{name}=_" for name in kwargs)])
            raise ValueError(f"{what} was called as {task.name}({names}), which it does not take any more")
        if isinstance(node, MappedResult):
            node.each, node.spent, node.kwargs = tuple(form["each"]), False, kwargs
            for name in MappedResult.__slots__:
                if name not in ("each", "spent"):
                    setattr(node, name, decode(settings.pop(name, None), self.allow, what))
        self.configure(form, node, settings, what)

    def configure(self, form: dict[str, Any], node: Any, settings: dict[str, Any], what: str) -> None:
        if not settings and "jumps" not in form and OWN_SETTINGS.isdisjoint(form):
            return
        config = Config()
        for name, value in settings.items():
            if name not in SETTINGS:
                raise ValueError(f"{what}: {name!r} is no setting of a node")
            if name == "constraints":
                config.constraints = Constraints({key: self.value(amount, what) for key, amount in value.items()})
            else:
                setattr(config, name, decode(value, self.allow, what))
        node.config = config
        if not OWN_SETTINGS.isdisjoint(form):
            node.config = own = OwnConfig(config)
            if "condition" in form:
                own.condition = self.value(form["condition"], what)
            if "otherwise" in form:
                own.otherwise = self.value(form["otherwise"], what)
            own.after = [self.value(each, what) for each in form.get("after", ())]
        if "jumps" in form:
            config.selector = JumpSelector(
                {
                    self.key(key, what): None if way is None else self.value(way["to"], what)
                    for key, way in form["jumps"]
                }
            )
