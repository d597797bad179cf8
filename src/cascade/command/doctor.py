"""The command that says what is installed, and what is missing for what; needs typer."""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
import sys
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import typer

from cascade.app.words import WORDS, language, say
from cascade.app.writing import tell
from cascade.command.misuse import FAILED
from cascade.command.parts import Json, print_line, telling
from cascade.command.tables import aligned, titles
from cascade.spec.shown import without_passwords

__all__ = ["add_doctor"]

NAME = "cascade-py"
NOT_FOR_USERS = ("all", "dev", "docs")
"""Extras that bring what others bring, or are for working on Cascade."""
REQUIRED = re.compile(
    r"(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*(?P<bounds>[^;]*?)\s*;.*?extra == ['\"](?P<extra>[\w-]+)['\"]"
)
HOW = f"pip install '{NAME}[{{extra}}]'"


class Package(NamedTuple):
    """One package of an extra, as it is here: there, missing, old or broken."""

    name: str
    needed: str
    found: str | None
    state: str


def add_doctor(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("doctor", help=say("h_doctor"), epilog=say("h_doctor_exit"))
    def doctor(as_json: Json = False) -> None:
        with telling():
            place, extras = _place(), _extras()
            if as_json:
                found = {extra: [each._asdict() for each in packages] for extra, packages in (extras or {}).items()}
                print_line(json.dumps({"version": 1, **place, "extras": found}, indent=2))
            else:
                _print(place, extras)
            if any(each.state in ("old", "broken") for packages in (extras or {}).values() for each in packages):
                raise typer.Exit(FAILED)


def _place() -> dict[str, Any]:
    """Return what stands beside the extras."""
    import cascade.errors  # its file says where Cascade is

    state = os.environ.get("CASCADE_STATE")
    try:
        version = metadata.version(NAME)
    except metadata.PackageNotFoundError:
        version = "?"
    return {
        "cascade": f"{version}  {Path(cascade.errors.__file__).parent}",
        "python": f"{platform.python_version()}  {platform.python_implementation()}, {sys.executable}",
        "system": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "language": language(),
        "output": getattr(sys.stdout, "encoding", None) or "?",
        "state": without_passwords(state) if state else None,
    }


def _extras() -> dict[str, list[Package]] | None:
    """Return the packages of each extra for users; None if Cascade is not installed, but runs from its source."""
    try:
        required = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        return None
    found: dict[str, list[Package]] = {}
    for each in required:
        match = REQUIRED.match(each)
        if match is not None and match["extra"] not in NOT_FOR_USERS:
            found.setdefault(match["extra"], []).append(_package(match["name"], match["bounds"]))
    return dict(sorted(found.items()))


def _package(name: str, needed: str) -> Package:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Package(name, needed, None, "missing")
    if not isinstance(version, str):  # a folder of metadata that lost its file
        return Package(name, needed, None, "broken")
    least = re.search(r">=\s*([\d.]+)", needed)
    is_old = least is not None and _is_less(version, least[1])
    return Package(name, needed, version, "old" if is_old else "there")


def _is_less(version: str, least: str) -> bool:
    """Say whether a version is below another one, by the numbers that it begins with."""
    pairs = zip_longest(_numbers(version), _numbers(least), fillvalue=0)
    return next((ours < theirs for ours, theirs in pairs if ours != theirs), False)


def _numbers(version: str) -> list[int]:
    begin = re.match(r"[\d.]*", version)
    return [int(each) for each in begin[0].split(".") if each] if begin else []


def _print(place: dict[str, Any], extras: dict[str, list[Package]] | None) -> None:
    named = {
        "Cascade": place["cascade"],
        "Python": place["python"],
        "": place["system"],
        "SQLite": place["sqlite"],
        say("doctor_language"): f"{place['language']} (CASCADE_LANG)",
        say("doctor_output"): place["output"],
        say("doctor_state"): place["state"] or say("doctor_no_state"),
    }
    print_line("\n".join(aligned(("", ""), [*named.items()])[1:]))
    if extras is None:
        tell(say("doctor_unknown") + "\n")
        return
    rows = [
        (
            extra,
            ", ".join(dict.fromkeys(say(f"doctor_{each.state}") for each in packages if each.state != "there"))
            or say("doctor_there"),
            ", ".join(_named(each) for each in packages),
            say(f"x_{extra}") if f"x_{extra}" in WORDS else "",
        )
        for extra, packages in extras.items()
    ]
    print_line("\n".join(["", *aligned(titles("extra", "status", "packages", "use"), rows)]))
    wanting = [extra for extra, packages in extras.items() if any(each.state != "there" for each in packages)]
    if wanting:
        print_line("\n" + say("doctor_install", command=HOW.format(extra=wanting[0])))


def _named(package: Package) -> str:
    if package.state == "there":
        return f"{package.name} {package.found}"
    return f"{package.name} {package.found or ''} ({package.needed})".replace("  ", " ")
