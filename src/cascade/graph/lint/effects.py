"""What the function of a task does that its kind of task should not: block, wait, have effects."""

from __future__ import annotations

import ast
import queue
import threading
from collections.abc import Iterator
from typing import Any

from cascade.graph.lint.finding import Finding, found
from cascade.graph.lint.source import Source, calls_in, own_nodes, source_of
from cascade.spec.task import Task

__all__ = ["check_task"]

HTTP = ("get", "post", "put", "delete", "patch", "head", "options", "request")
BLOCKING = frozenset(
    {
        *("time.sleep", "os.system", "os.wait", "os.waitpid", "input", "select.select", "signal.pause"),
        *(
            f"subprocess.{name}"
            for name in ("run", "call", "check_call", "check_output", "getoutput", "getstatusoutput")
        ),
        *(f"{package}.{name}" for package in ("requests", "requests.api", "httpx", "httpx._api") for name in HTTP),
        *("urllib.request.urlopen", "urllib.request.urlretrieve", "socket.create_connection", "socket.getaddrinfo"),
        *("socket.gethostbyname", "shutil.copytree", "shutil.rmtree", "asyncio.run", "asyncio.runners.run"),
    }
)
"""Functions that hold the thread that calls them."""
EFFECTS = frozenset(
    {
        *(
            "print",
            "input",
            "os.system",
            "os.remove",
            "os.unlink",
            "os.rename",
            "os.replace",
            "os.mkdir",
            "os.makedirs",
        ),
        *("os.rmdir", "os.putenv", "shutil.rmtree", "shutil.move", "shutil.copy", "shutil.copyfile", "shutil.copytree"),
        *(f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen")),
        *(
            f"{package}.{name}"
            for package in ("requests", "requests.api")
            for name in ("post", "put", "delete", "patch")
        ),
    }
)
WRITERS = frozenset({"write_text", "write_bytes", "unlink", "rmdir", "mkdir", "touch"})
"""Methods of paths that change files."""
WAITS: tuple[tuple[tuple[Any, ...], frozenset[str]], ...] = (
    ((queue.Queue, queue.SimpleQueue), frozenset({"get", "join"})),
    ((threading.Event,), frozenset({"wait"})),
    ((threading.Condition,), frozenset({"wait", "wait_for", "acquire"})),
    ((threading.Barrier,), frozenset({"wait"})),
    ((type(threading.Lock()), type(threading.RLock()), threading.Semaphore), frozenset({"acquire"})),
    ((threading.Thread,), frozenset({"join"})),
)
"""What waits for somebody else, by its class."""
STARTS_LOOP = frozenset({"asyncio.run", "asyncio.runners.run"})


def check_task(task: Task[..., Any]) -> Iterator[Finding]:
    """Look at one task's function."""
    source = source_of(task.func)
    if source is None:
        return
    if isinstance(source.node, ast.AsyncFunctionDef):
        yield from _blocking(task, source)
    elif task.mode == "auto" and not task.is_async:
        yield from _waiting(task, source)
    if task.pure:
        yield from _effects(task, source)


def _blocking(task: Task[..., Any], source: Source) -> Iterator[Finding]:
    for call in calls_in(source.node):
        name = source.dotted(call.func)
        if name in BLOCKING:
            instead = "await asyncio.sleep(...)" if name == "time.sleep" else f"await asyncio.to_thread({name}, ...)"
            yield found(
                "blocking-async",
                f"async task {task.name!r} calls {name}, which holds the event loop and everything else that runs on "
                f"it; use {instead}, or make it a plain def",
                source.at(call),
                task.name,
            )


def _waiting(task: Task[..., Any], source: Source) -> Iterator[Finding]:
    for call in calls_in(source.node):
        what = ""
        if source.dotted(call.func) in STARTS_LOOP:
            what = "starts an event loop"
        elif isinstance(call.func, ast.Attribute) and _waits(source, call.func, call):
            what = f"waits in {ast.unparse(call.func)}(...)"
        if what:
            yield found(
                "waiting-auto",
                f"task {task.name!r} {what}; an auto task may run on the event loop's thread, where that would hold "
                f'everything, even what it waits for: say @cs.task(mode="blocking")',
                source.at(call),
                task.name,
            )


def _waits(source: Source, func: ast.Attribute, call: ast.Call) -> bool:
    if _without_waiting(func.attr, call):
        return False
    known = source.value(func.value)
    kind = type(known) if known is not None else _annotated(source, func.value)
    if not isinstance(kind, type):
        return False
    return any(func.attr in names and issubclass(kind, classes) for classes, names in WAITS)


def _without_waiting(name: str, call: ast.Call) -> bool:
    """Say whether the call says itself that it does not wait: get(False), acquire(blocking=False), timeout=0."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    first = call.args[0] if call.args and name in ("get", "acquire") else None
    flags = [first, given.get("block"), given.get("blocking"), given.get("timeout")]
    return any(isinstance(flag, ast.Constant) and flag.value in (False, 0) for flag in flags)


def _annotated(source: Source, node: ast.AST) -> Any:
    """Return the class that a parameter is annotated with."""
    if not isinstance(node, ast.Name) or node.id not in source.parameters:
        return None
    hint = source.func.__annotations__.get(node.id)
    if isinstance(hint, str):
        try:
            spelled = ast.parse(hint, mode="eval").body
        except SyntaxError:
            return None
        hint = source.value(spelled.value if isinstance(spelled, ast.Subscript) else spelled)
    return getattr(hint, "__origin__", hint)


def _effects(task: Task[..., Any], source: Source) -> Iterator[Finding]:
    parameters = source.parameters
    outer = {
        name for node in own_nodes(source.node) if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names
    }
    for node in own_nodes(source.node):
        what = ""
        if isinstance(node, ast.Call):
            what = _effect_of_call(source, node)
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)):
            targets = node.targets if isinstance(node, (ast.Assign, ast.Delete)) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id in outer:
                    what = f"sets {target.id}, which is not its own"
                elif isinstance(target, (ast.Attribute, ast.Subscript)) and _root(target) in parameters:
                    what = f"changes its argument {_root(target)!r} ({ast.unparse(target)})"
        if what:
            yield found(
                "impure",
                f"task {task.name!r} is pure, and {what}; equal calls of a pure task are one call, so the effect may "
                "happen once or not at all: leave out pure=True, or return what changes",
                source.at(node),
                task.name,
            )


def _effect_of_call(source: Source, call: ast.Call) -> str:
    name = source.dotted(call.func)
    if name in EFFECTS:
        return f"calls {name}"
    if name in ("open", "io.open", "_io.open"):
        given = call.args[1] if len(call.args) > 1 else next((k.value for k in call.keywords if k.arg == "mode"), None)
        if isinstance(given, ast.Constant) and set(str(given.value)) & set("wax+"):
            return f"opens a file to write ({ast.unparse(call)})"
    if isinstance(call.func, ast.Attribute) and call.func.attr in WRITERS and not name.startswith("os."):
        return f"changes a file ({ast.unparse(call.func)})"
    return ""


def _root(node: ast.AST) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
