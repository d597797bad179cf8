"""What several test modules share: the source tree as data, and fresh Python processes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "cascade"


def modules(package: Path) -> dict[str, Path]:
    """Give every module of a package by its full name; a package's name stands for its `__init__.py`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def run_python(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter, warnings being errors, and give what it printed."""
    command = [sys.executable, "-P", "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def invoke_cascade(*arguments: object) -> tuple[int, str, str]:
    """Run the command in this process; give its exit code, stdout and stderr. Programs that it imports are dropped."""
    from typer.testing import CliRunner

    from cascade.command.main import make_app

    known, path = set(sys.modules), list(sys.path)
    try:
        done = CliRunner().invoke(make_app(), [str(each) for each in arguments], prog_name="cascade")
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - known:
            file = str(getattr(sys.modules[name], "__file__", ""))
            if "/pytest-" in file or file.startswith(f"{ROOT}/examples/"):
                del sys.modules[name]
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def write_package(directory: Path, sources: dict[str, str]) -> Path:
    """Write a package named cascade that holds these modules."""
    package = directory / "cascade"
    for name, source in sources.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        for parent in path.parents:
            if package in (parent, *parent.parents):
                (parent / "__init__.py").touch()
    return package
