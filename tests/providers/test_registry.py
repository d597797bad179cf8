"""How `cs.<name>` finds providers, those of plugins too, and what happens where one cannot be had."""

import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.providers import register, registry, unregister
from cascade.spec.task import Task
from tests.helpers import ROOT, run_python
from tests.providers.servers import need
from tests.workflows import Tier, every_tier, run

for each in ("aiobotocore", "httpx", "jinja2", "psycopg", "sqlalchemy", "yaml"):
    need(each)

# Prints the modules that a statement brings in beyond `import cascade`.
IMPORTED = "import sys, cascade as cs; before = set(sys.modules); {}; print(*sorted(set(sys.modules) - before))"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed distribution with providers, one good, the others broken each in its way."""
    info = tmp_path / "greeter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[cascade.providers]\ngreet = greeter:greet\ngone = greeter:no_such_name\nlost = no_such_module_at_all:x\n"
        "angry = angry_provider:x\nshell = greeter:greet\n"
    )
    (tmp_path / "greeter.py").write_text(
        "import cascade as cs\n\n@cs.task\ndef greet(name: str) -> str:\n    return f'hello {name}'\n"
    )
    (tmp_path / "angry_provider.py").write_text("raise SyntaxError('not today')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("greet", "gone", "lost", "angry"):
        monkeypatch.delitem(cs.__dict__, name, raising=False)
    yield tmp_path
    for name in ("greet", "gone", "lost", "angry"):
        cs.__dict__.pop(name, None)
    sys.modules.pop("greeter", None)


def tasks_of(value: object) -> list[Task[..., object]]:
    """Return the tasks that a provider is, or holds."""
    if isinstance(value, Task):
        return [value]
    assert isinstance(value, types.ModuleType)
    return [each for name in value.__all__ if name[0].islower() for each in tasks_in(getattr(value, name))]


def tasks_in(value: object) -> list[Task[..., object]]:
    return tasks_of(value) if isinstance(value, (Task, types.ModuleType)) else []


@pytest.mark.parametrize("name", sorted(registry.HERE))
def test_each_provider_is_found_typed_and_documented(name: str) -> None:
    tasks = tasks_of(getattr(cs, name))
    assert tasks
    for task in tasks:
        assert task.__doc__
        assert task.name == task.__qualname__ or task.name.endswith(f".{task.__qualname__}")
        assert "return" in task.func.__annotations__
        assert getattr(sys.modules[task.__module__], task.__qualname__) is task  # it pickles by reference


def test_a_node_of_a_provider_stands_where_it_was_called() -> None:
    node = cs.fs.exists("x")
    assert (
        node.declared
        == f"{__file__}:{test_a_node_of_a_provider_stands_where_it_was_called.__code__.co_firstlineno + 1}"
    )
    assert node.label == "fs.exists"


@every_tier
def test_a_plugin_is_found_by_name(plugin: Path, tier: Tier) -> None:
    assert run(cs.greet("you"), tier=tier) == "hello you"
    assert "greet" in dir(cs)
    assert cs.__dict__["greet"] is cs.greet  # looked for once


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone", "AttributeError.*no_such_name"), ("lost", "ModuleNotFoundError"), ("angry", "SyntaxError: not today")],
)
def test_a_broken_plugin_is_a_warning_and_an_absent_name(plugin: Path, name: str, reason: str) -> None:
    with pytest.warns(RuntimeWarning, match=f"the provider '{name}' of the plugin .* is broken: {reason}") as heard:
        assert getattr(cs, name, None) is None
    assert heard[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="is broken"), pytest.raises(AttributeError, match=reason):
        getattr(cs, name)
    assert name in dir(cs)


def test_a_plugin_takes_the_place_of_nothing_that_comes_with_cascade(plugin: Path) -> None:
    assert registry.find("shell").__module__ == "cascade.providers.shell"


@every_tier
def test_a_provider_registered_by_the_program_is_found(plugin: Path, tier: Tier) -> None:
    shout: Any = cs.task(lambda text: text.upper())
    assert run(cs.greet("you"), tier=tier) == "hello you"
    register("greet", shout)  # before that of a plugin
    register("tools", types.SimpleNamespace(shout=shout))
    try:
        assert run([cs.greet("you"), cs.tools.shout("a")], tier=tier) == ["YOU", "A"]
        assert {"greet", "tools"} <= set(dir(cs))
        register("greet", cs.task(lambda text: text))  # the last one counts
        assert run(cs.greet("you"), tier=tier) == "you"
    finally:
        unregister("greet")
        unregister("tools")
    assert run(cs.greet("you"), tier=tier) == "hello you"
    with pytest.raises(AttributeError, match="has no attribute 'tools'"):
        _ = cs.tools
    with pytest.raises(KeyError):
        unregister("tools")


@pytest.mark.parametrize("name", ["shell", "run", "task", "Engine", "spec", "http", "_mine", "a b", "class", "", 7])
def test_a_name_that_cannot_be_registered(name: Any) -> None:
    with pytest.raises(ValueError, match=r"comes with Cascade|written as cs\.<name>"):
        register(name, cs.task(lambda: 1))


def test_the_extra_all_brings_every_other_that_is_for_users() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (one,) = extras["all"]
    assert one == f"cascade-py[{','.join(sorted(extras.keys() - {'all', 'dev', 'docs', 'ray'}))}]"


def test_dir_lists_all_and_loads_none() -> None:
    listed = run_python(IMPORTED.format("listed = dir(cs); print(*listed)")).splitlines()
    assert set(registry.HERE) | set(cs.__all__) <= set(listed[0].split())
    assert {"httpx", "sqlalchemy", "yaml", "jinja2", "asyncio"} & set(listed[1].split()) == set()


@pytest.mark.parametrize("name", ["http", "sql", "template", "load_yaml", "io", "ipfs", "shell"])
def test_a_provider_imports_what_it_needs_when_it_runs(name: str) -> None:
    brought = set(run_python(IMPORTED.format(f"cs.{name}")).split())
    assert {"httpx", "sqlalchemy", "yaml", "jinja2", "aiobotocore", "asyncio"} & brought == set()


def test_names_that_nobody_has_and_private_ones() -> None:
    with pytest.raises(AttributeError, match="module 'cascade' has no attribute 'shel'"):
        _ = cs.shel
    assert "importlib.metadata" not in run_python(IMPORTED.format("hasattr(cs, '__wrapped__')")).split()


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("http", "httpx", "http"),
        ("ipfs", "httpx", "http"),
        ("sql", "sqlalchemy", "sql"),
        ("template", "jinja2", "template"),
        ("load_yaml", "yaml", "yaml"),
    ],
)
def test_a_missing_extra_says_what_to_install(name: str, package: str, extra: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
import cascade as cs
try:
    cs.{name}
except cs.MissingExtraError as error:
    print(error)
"""
    said = run_python(code).strip()
    assert said == f"cs.{name} needs the package {package!r}, which is not installed: pip install cascade-py[{extra}]"


def test_a_missing_extra_of_s3_and_of_a_database() -> None:
    code = """
import sys
sys.modules["aiobotocore"] = sys.modules["aiobotocore.session"] = sys.modules["psycopg"] = None
import cascade as cs
for target in cs.io.s3.read("a", "b"), cs.sql("select 1", "postgresql://x/y"):
    try:
        cs.run(target, log_level="SILENT")
    except cs.MissingExtraError as error:
        print(error)
"""
    assert run_python(code).splitlines() == [
        "cs.io.s3 needs the package 'aiobotocore', which is not installed: pip install cascade-py[s3]",
        "cs.sql with postgresql+psycopg needs the package 'psycopg', which is not installed: "
        "pip install cascade-py[postgres]",
    ]
