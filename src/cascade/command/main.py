"""The `cascade` command itself; needs typer."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from glob import escape, glob
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any

import typer

from cascade.app import findings, pictures, plans, sources
from cascade.app.forms import to_json
from cascade.app.translating import translated
from cascade.app.words import say
from cascade.app.writing import tell, write_out
from cascade.command.doctor import add_doctor
from cascade.command.drawing import drawn, inputs_of
from cascade.command.misuse import FAILED, Misuse
from cascade.command.options import SETTINGS, add_command, given_as_pairs
from cascade.command.page import add_page
from cascade.command.parts import Json, check_choice, own, print_line, telling
from cascade.command.recorded import add_recorded
from cascade.command.running import run_options, running
from cascade.command.serving import add_serving
from cascade.command.speaking import Speaking
from cascade.command.starting import add_start
from cascade.command.steering import add_steering
from cascade.command.targets import find_all, find_served, find_target, full_name

__all__ = ["make_app", "script_app"]

RAW = {"ignore_unknown_options": True, "allow_interspersed_args": False, "allow_extra_args": True}
FORMATS = ["terminal", "dot", "mermaid", "svg", "html"]
FLAGS = ("--json", "--help")


def _complete(incomplete: str) -> list[str]:
    """Complete the names of Python files and folders."""
    found = [Path(each) for each in glob(f"{escape(incomplete)}*")]
    return sorted(f"{path}/" if path.is_dir() else str(path) for path in found if path.is_dir() or path.suffix == ".py")


File = Annotated[str, typer.Argument(metavar="FILE[:TARGET]", help=say("h_file"), autocompletion=_complete)]
Raw = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE[:TARGET] [OPTIONS]", help=say("h_file"), autocompletion=_complete),
]


def script_app(target: Any, prog_help: str = "") -> typer.Typer:
    """Return a command line that runs one target.

    A run that it records has no name: what stands in `__main__` is found there alone, and goes on with its own script.
    """
    app = Speaking(add_completion=False, **SETTINGS)
    add_command(app, "run", target, running(""), run_options(), prog_help or say("h_run"))
    return app


def make_app() -> typer.Typer:
    """Return the `cascade` command."""
    app = Speaking(help=say("h_app"), epilog=say("h_exit"), no_args_is_help=True, **SETTINGS)
    raw: Any = {"add_help_option": False, "context_settings": RAW}

    @app.callback()
    def cascade(
        version: Annotated[
            bool, typer.Option("--version", help=say("h_version"), is_eager=True, callback=_version)
        ] = False,
    ) -> None: ...

    @app.command("run", help=say("h_run"), **raw)
    def run_file(args: Raw = None) -> None:
        with telling():
            _with_target("run", args or [], running, run_options())

    @app.command("dry-run", help=say("h_dry_run"), **raw)
    def dry_run_file(args: Raw = None) -> None:
        with telling():
            _with_target("dry-run", args or [], lambda _: dry_run, own(as_json=(Json, False)))

    @app.command("check", help=say("h_check"), epilog=say("h_exit"))
    def check_file(file: File, as_json: Json = False) -> None:
        with telling():
            check(file, as_json)

    @app.command("show", help=say("h_show"))
    def show_file(
        file: File,
        format: Annotated[str, typer.Option("--format", "-f", help=say("h_format"))] = "terminal",
        output: Annotated[str | None, typer.Option("--output", "-o", help=say("h_output"))] = None,
        as_json: Json = False,
    ) -> None:
        with telling():
            show(file, format, output, as_json)

    @app.command("explain", help=say("h_explain"))
    def explain_file(file: File, as_json: Json = False) -> None:
        with telling():
            _, target = find_target(file)
            source = sources.explain(target)
            if not as_json and "odd" in source:
                print_line(say("legend"))
            print_line(json.dumps({"source": source}) if as_json else source.rstrip("\n"))

    add_recorded(app, _resume)
    add_serving(app, find_served)
    add_steering(app)
    add_page(app)
    add_start(app)
    add_doctor(app)
    return app


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("cascade-py")
        except PackageNotFoundError:  # run from its source
            found = "?"
        print_line(f"cascade {found}")
        raise typer.Exit


def _with_target(command: str, args: list[str], acting: Callable[[str], Any], own: list[inspect.Parameter]) -> None:
    """Load the target that the arguments name, and go on with a command that has its parameters as options.

    Args:
        acting: returns what is done with a target, by its full name.
    """
    ahead: list[str] = []
    rest = list(args)
    valued = ("--param", "-p", *(f"--{each.name.replace('_', '-')}" for each in own if each.name != "as_json"))
    while rest and rest[0].startswith("-"):
        option = rest[0].partition("=")[0]
        if option not in (*FLAGS, *valued):
            raise Misuse(say("file_first", command=command, option=option))
        count = 1 if option in FLAGS or ("=" in rest[0] and option.startswith("--") and option != "-p") else 2
        ahead, rest = ahead + rest[:count], rest[count:]
    app = Speaking(add_completion=False, **SETTINGS)
    key = "h_dry_run" if command == "dry-run" else "h_run"
    if not rest:
        add_command(app, command, None, acting(""), own, say(key))
        if "--help" not in ahead:
            raise Misuse(say("no_file_given", command=command))
        app(["--help"], prog_name=f"cascade {command} FILE[:TARGET]")
        return
    name, target = find_target(rest[0])
    add_command(app, name, target, acting(full_name(rest[0], name)), own, say(key))
    app([*ahead, *rest[1:]], prog_name=f"cascade {command} {rest[0]}")


# --- what the commands do


def _resume(file: str, name: str, pairs: list[str], options: dict[str, Any]) -> None:
    """Go on with a recorded run of a target that has a name."""
    _, target = find_target(file)
    running(name)(target, given_as_pairs(target, pairs), **options)


def dry_run(target: Any, params: dict[str, Any], *, as_json: bool) -> None:
    """Print the plan of a run."""
    plan = plans.dry_run(target, params if params else None)
    print_line(plan.to_json() if as_json else str(plan))


def check(file: str, as_json: bool) -> None:
    """Print what is wrong with the targets of a file; exit with 1 if some of it is an error."""
    found: dict[findings.Finding, None] = {}
    targets = find_all(file)
    for target in targets.values():
        found.update(dict.fromkeys(findings.check(target)))
    listed = sorted(found, key=lambda each: (each.file, each.line, each.code))
    errors = sum(each.severity == "error" for each in listed)
    if as_json:
        record = {"version": 1, "targets": list(targets), "findings": [each.to_dict() for each in listed]}
        print_line(json.dumps(record, indent=2))
    else:
        for each in listed:
            print_line(_found(each))
        names = ", ".join(targets)
        counted = say("findings", errors=errors, warnings=len(listed) - errors)
        (tell if listed else write_out)(f"{counted if listed else say('no_findings', names=names)}\n")
    if errors:
        raise typer.Exit(FAILED)


def _found(finding: findings.Finding) -> str:
    """Spell a finding in the language of the user."""
    kind, colon, message = finding.message.partition(": ")
    if finding.code == "graph" and colon:
        message = f"{kind}: {translated(message, 'e')}"
    else:
        message = translated(finding.message, "f")
    told = str(finding._replace(message=message))
    return told.replace(f"{finding.severity}: ", f"{say(finding.severity)}: ", 1)


def show(file: str, format: str, output: str | None, as_json: bool) -> None:
    """Draw a target."""
    check_choice("--format", format, FORMATS)
    _, target = find_target(file)
    form: Any = format
    if as_json:
        text = to_json(target)
    elif format == "terminal":
        text = _drawn(target)
    else:
        text = str(pictures.visualize(target, form))
    if output is None:
        print_line(text.rstrip("\n"))
        return
    try:
        Path(output).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise Misuse(say("cannot_write", file=output, error=error.strerror)) from None
    tell(say("written", file=output) + "\n")


def _drawn(target: Any) -> str:
    """Return a drawing for the terminal: boxes and lines, or a listing where those would not fit."""
    plan = plans.dry_run(target)
    picture = pictures.in_letters(target, get_terminal_size((100, 24)).columns)
    if picture is None:
        return drawn(plan)
    return "\n".join([*inputs_of(plan), *([""] if plan.inputs else []), picture])
