"""The command that writes a project to start from; needs typer."""

from __future__ import annotations

import shlex
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from cascade.app.words import say
from cascade.app.writing import tell, write_out
from cascade.command.misuse import Misuse
from cascade.command.parts import telling

__all__ = ["add_start"]

FLOW = '''\
"""$new_flow_doc"""

import asyncio

import cascade as cs


@cs.task
async def temperature(city: str) -> float:
    """$new_task_doc"""
    await asyncio.sleep(0.2)  # $new_request
    return {"Accra": 31.0, "Cusco": 12.5, "Nuuk": -11.0}[city]


@cs.task
def warmest(cities: list[str], degrees: list[float]) -> str:
    """$new_warmest_doc"""
    degree, city = max(zip(degrees, cities, strict=True))
    return f"{city}, {degree} °C"


cities = cs.Param("cities", default=["Accra", "Cusco", "Nuuk"], description="$new_param")
degrees = temperature.map(city=cities)
degrees.with_retry(max_attempts=3, delay=1, backoff=2)  # $new_retry
flow = warmest(cities, degrees)
'''

TEST = '''\
"""$new_test_doc"""

from cascade.testing import Faults, VirtualClock

from flow import flow, warmest


def test_the_function_alone() -> None:
    assert warmest.func(["Oslo", "Rome"], [4.0, 18.5]) == "Rome, 18.5 °C"


def test_the_flow() -> None:
    assert VirtualClock().run(flow, {"cities": ["Nuuk", "Cusco"]}) == "Cusco, 12.5 °C"


def test_a_busy_line_is_asked_again() -> None:
    clock = VirtualClock(faults=Faults().fail("temperature", ConnectionError("busy"), on=[1, 2]))
    assert clock.run(flow, {"cities": ["Accra"]}) == "Accra, 31.0 °C"
    assert clock.elapsed == 1 + 2 + 0.2
'''


def add_start(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("new", help=say("h_new"))
    def new(
        name: Annotated[str, typer.Argument(metavar="NAME", help=say("h_new_name"), show_default=False)] = ".",
    ) -> None:
        with telling():
            folder = Path(name)
            written = _write(folder)
            names = ", ".join(str(folder / each) for each in written)
            tell(f"{say('new_written', files=names)}\n{say('new_next')}\n")
            steps = ["cascade run flow.py", "cascade show flow.py", "python -m pytest"]
            if folder.resolve() != Path.cwd():
                steps = [f"cd {shlex.quote(str(folder))}", *steps]
            write_out("".join(f"    {each}\n" for each in steps))


def _write(folder: Path) -> list[str]:
    """Write the files of a project, and return their names; nothing that is there is touched.

    Raises:
        Misuse: one of them is there, or they cannot be written.
    """
    files = {
        "flow.py": _filled(FLOW),
        "test_flow.py": _filled(TEST),
        "README.md": say("new_readme", name=folder.resolve().name or "flow"),
    }
    if folder.exists() and not folder.is_dir():
        raise Misuse(say("new_is_file", name=folder))
    taken = [str(folder / each) for each in files if (folder / each).exists()]
    if taken:
        raise Misuse(say("new_is_there", files=", ".join(taken)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with open(folder / name, "x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise Misuse(say("cannot_write", file=error.filename or folder, error=error.strerror)) from None
    return [*files]


def _filled(text: str) -> str:
    template = Template(text)
    return template.substitute({key: say(key) for key in template.get_identifiers()})
