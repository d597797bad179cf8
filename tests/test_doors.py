"""What can be imported, from where, in which order, and at which price."""

import ast
import json
import random
import sys
import tomllib

import pytest

import cascade
from tests.helpers import PACKAGE, ROOT, modules, run_python

FRONT_DOOR = PACKAGE / "__init__.py"

# Public for ever. A path joins the list with the change that builds it.
PUBLIC_PATHS = {
    "cascade": "keys",
    "cascade.runtime": "Engine MessageBus",
    "cascade.spec.blueprint": "Blueprint TailCall",
    "cascade.adapters.solvers.native": "NativeSolver",
    "cascade.adapters.caching": "FileExistenceCache",
    "cascade.adapters.executors.local": "LocalExecutor",
    "cascade.runtime.events": """
        Event RunEvent TaskEvent ResourceEvent ConnectorEvent RunStarted RunFinished RunWarning
        TaskExecutionStarted TaskExecutionFinished TaskSkipped TaskRetrying TaskBlocked TaskYielded
        ResourceAcquired ResourceReleased ConnectorConnected ConnectorDisconnected StaticAnalysisWarning
    """,
    "cascade.errors": """
        CascadeError StaticGraphError CycleError DependencyMissingError ResourceNotFoundError ParameterError
        JumpError RouterError ConstraintError CacheError MissingExtraError
    """,
    "cascade.testing": "SpySubscriber override_resource",
}

# Prints what each name of the front door is, after importing the modules given, in that order.
DESCRIBE = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import cascade
def describe(value):
    return [type(value).__name__, *(getattr(value, key, "") for key in ("__module__", "__qualname__"))]
print(json.dumps({name: describe(getattr(cascade, name)) for name in cascade.__all__}))
"""

# Prints the modules that `import cascade` brings in.
IMPORTED = """
import sys
before = set(sys.modules)
import cascade
print(*sorted(set(sys.modules) - before))
"""


def test_the_names_of_the_front_door_are_sorted_and_there() -> None:
    assert cascade.__all__ == sorted(set(cascade.__all__))
    assert [name for name in cascade.__all__ if not hasattr(cascade, name)] == []


def test_the_front_door_refuses_a_name_that_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = cascade.no_such_name


def test_the_version_is_the_one_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cascade.__version__ == project["version"]


ROOMS = [name for name, path in modules(PACKAGE).items() if path.name == "__init__.py"]


@pytest.mark.parametrize("room", ROOMS)
def test_the_names_of_every_room_are_sorted(room: str) -> None:
    for node in ast.parse(modules(PACKAGE)[room].read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                names = ast.literal_eval(value)
                assert list(names) == sorted(set(names))


def is_plain(node: ast.stmt) -> bool:
    """Tell whether a front door may hold this statement: it holds no logic."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__" | "__version__")]):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=[]):
            return all(isinstance(each, ast.Import | ast.ImportFrom) for each in body)
        case ast.FunctionDef(name="__getattr__" | "__dir__"):
            return True
    return False


def test_the_front_door_holds_no_logic() -> None:
    body = ast.parse(FRONT_DOOR.read_text(encoding="utf-8")).body
    assert [ast.unparse(node) for node in body if not is_plain(node)] == []


@pytest.mark.parametrize("path", PUBLIC_PATHS)
def test_a_public_path_can_be_the_first_import(path: str) -> None:
    run_python(f"from {path} import {', '.join(PUBLIC_PATHS[path].split())}")


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_imports_changes_nothing(seed: int) -> None:
    names = [name for name in modules(PACKAGE) if not name.endswith("__main__")]
    random.Random(seed).shuffle(names)
    assert json.loads(run_python(DESCRIBE, *names)) == json.loads(run_python(DESCRIBE))


def test_importing_the_front_door_is_cheap() -> None:
    imported = set(run_python(IMPORTED).split())
    assert {name.partition(".")[0] for name in imported} <= {"cascade", *sys.stdlib_module_names}
    assert imported & {"asyncio", "dataclasses", "inspect", "typing_extensions"} == set()
