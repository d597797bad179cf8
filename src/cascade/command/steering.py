"""The commands that look at engines of other processes and steer them; needs typer."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cascade.app.words import say
from cascade.app.writing import tell
from cascade.command.misuse import Misuse
from cascade.command.parts import Json, print_line, telling
from cascade.errors import CascadeError
from cascade.spec.limits import Kind

__all__ = ["add_steering", "send_signal"]

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help=say("h_scope"))]
Run = Annotated[str, typer.Argument(metavar="RUN", help=say("h_run_going_on"))]
Engine = Annotated[str | None, typer.Option("--engine", metavar="ENGINE", help=say("h_engine"))]
All = Annotated[bool, typer.Option("--all", help=say("h_all"))]
Mqtt = Annotated[str | None, typer.Option("--mqtt", metavar="HOST[:PORT]", help=say("h_mqtt"))]
Ttl = Annotated[float | None, typer.Option("--ttl", metavar="SECONDS", help=say("h_ttl"))]


def add_steering(app: typer.Typer) -> None:
    """Add the commands; what they need of sockets is loaded when one is carried out."""
    _add_looks(app)
    _add_limits(app)

    @app.command("cancel", help=say("h_cancel"), epilog=say("h_exit"))
    def cancel(run: Run, engine: Engine = None, mqtt: Mqtt = None) -> None:
        from cascade.command.engines import with_run
        from cascade.command.far import going_there

        with telling(), going_there(mqtt, engine) as found:
            each, known = with_run(run, found)
            each.asker.ask("cancel", run=known["id"])
            tell(say("cancels", name=run) + "\n")


def send_signal(run: str, name: str, value: Any, id: str | None, mqtt: str | None) -> None:
    """Send a message to a run that is going on, by the door of its engine or over a broker."""
    from cascade.command.engines import with_run
    from cascade.command.far import going_there

    with going_there(mqtt) as found:
        each, known = with_run(run, found)
        each.asker.ask("signal", run=known["id"], name=name, value=value, id=id)


def _add_looks(app: typer.Typer) -> None:
    @app.command("ps", help=say("h_ps"), epilog=say("h_exit"))
    def ps(mqtt: Mqtt = None, as_json: Json = False) -> None:
        from cascade.command.engines import ps_table
        from cascade.command.far import going_there

        with telling(), going_there(mqtt) as found:
            if as_json:
                print_line(json.dumps({"version": 1, "engines": [each.to_dict() for each in found]}, indent=2))
            elif not found:
                tell(say("no_engines" if mqtt is None else "no_engines_there") + "\n")
            else:
                print_line("\n".join(ps_table(found)))

    @app.command("status", help=say("h_engine_status"), epilog=say("h_exit"))
    def status(engine: Engine = None, mqtt: Mqtt = None, as_json: Json = False) -> None:
        from cascade.command.engines import going, limits_lines, meant, status_lines

        if mqtt is not None:
            from cascade.command.by_broker import standing
            from cascade.command.far import going_there

            with telling(), going_there(mqtt, engine) as found:
                told = {"version": 1, "limits": standing(mqtt), "engines": [each.to_dict() for each in found]}
                parts = [limits_lines(told) or [say("nothing_stands")], *map(status_lines, found)]
                print_line(json.dumps(told, indent=2) if as_json else "\n\n".join("\n".join(each) for each in parts))
            return
        with telling(), going(engine) as found:
            if as_json:
                print_line(json.dumps({"version": 1, "engines": [each.to_dict() for each in found]}, indent=2))
                return
            lines = [status_lines(each) for each in meant(engine, found, all_of_them=True)]
            print_line("\n\n".join("\n".join(each) for each in lines))

    @app.command("watch", help=say("h_watch"), epilog=say("h_exit"))
    def watch(
        run: Annotated[str | None, typer.Argument(metavar="RUN", help=say("h_watched"))] = None,
        engine: Engine = None,
        mqtt: Mqtt = None,
        as_json: Json = False,
    ) -> None:
        from cascade.command.watching import watch as look

        with telling():
            if mqtt is None:
                look(run, engine, as_json)
            else:
                from cascade.command.by_broker import watch_events

                watch_events(mqtt, as_json, run)


def _add_limits(app: typer.Typer) -> None:
    @app.command("pause", help=say("h_pause"), epilog=say("h_exit"))
    def pause(
        scope: Scope = "global", ttl: Ttl = None, engine: Engine = None, all_of_them: All = False, mqtt: Mqtt = None
    ) -> None:
        if mqtt is not None:
            _published(mqtt, "paused", scope, {"pause": None}, ttl=ttl)
        else:
            _asked(engine, all_of_them, "pause", "paused", scope=scope, ttl=ttl)

    @app.command("resume", help=say("h_resume"), epilog=say("h_exit"))
    def resume(scope: Scope = "global", engine: Engine = None, all_of_them: All = False, mqtt: Mqtt = None) -> None:
        if mqtt is not None:
            _cleared(mqtt, "resumed", scope, "pause")
        else:
            _asked(engine, all_of_them, "resume", "resumed", scope=scope)

    @app.command("set-limit", help=say("h_set_limit"), epilog=say("h_exit"))
    def set_limit(
        scope: Scope,
        concurrency: Annotated[int | None, typer.Option(metavar="N", help=say("h_concurrency"))] = None,
        rate: Annotated[str | None, typer.Option(metavar="RATE", help=say("h_rate"))] = None,
        burst: Annotated[int | None, typer.Option(metavar="N", help=say("h_burst"))] = None,
        ttl: Ttl = None,
        engine: Engine = None,
        all_of_them: All = False,
        mqtt: Mqtt = None,
    ) -> None:
        with telling():
            if concurrency is None and rate is None:
                raise Misuse(say("no_limit_given"))
        if mqtt is not None:
            given: dict[Kind, Any] = {"concurrency": concurrency, "rate": _rate(rate)}
            values = {kind: value for kind, value in given.items() if value is not None}
            _published(mqtt, "limited", scope, values, burst, ttl)
            return
        wanted = {"concurrency": concurrency, "rate": _rate(rate), "burst": burst, "ttl": ttl}
        _asked(engine, all_of_them, "set_limit", "limited", scope=scope, **wanted)

    @app.command("clear-limit", help=say("h_clear_limit"), epilog=say("h_exit"))
    def clear_limit(scope: Scope, engine: Engine = None, all_of_them: All = False, mqtt: Mqtt = None) -> None:
        if mqtt is not None:
            _cleared(mqtt, "unlimited", scope, "concurrency", "rate")
        else:
            _asked(engine, all_of_them, "clear_limit", "unlimited", scope=scope)


def _rate(given: str | None) -> str | float | None:
    """Return a rate as it was given, a bare number as one a second."""
    try:
        return None if given is None else float(given)
    except ValueError:
        return given


def _published(
    broker: str,
    done: str,
    scope: str,
    values: dict[Kind, Any],
    burst: int | None = None,
    ttl: float | None = None,
) -> None:
    from cascade.command.by_broker import let_stand

    with telling():
        let_stand(broker, scope, values, burst, ttl)
        tell(say(done, scope=scope, name=broker, how=f" --mqtt {broker}") + "\n")


def _cleared(broker: str, done: str, scope: str, *kinds: Kind) -> None:
    from cascade.command.by_broker import clear

    with telling():
        clear(broker, scope, *kinds)
        tell(say(done, scope=scope, name=broker, how=f" --mqtt {broker}") + "\n")


def _asked(engine: str | None, all_of_them: bool, do: str, done: str, **args: Any) -> None:
    """Ask the engines that are meant, each of them even if another one refuses, and say what was done."""
    from cascade.command.engines import going, meant

    with telling(), going(engine) as found:
        refused: list[CascadeError] = []
        for each in meant(engine, found, all_of_them=all_of_them):
            try:
                each.asker.ask(do, **args)
                tell(say(done, scope=args["scope"], name=each.name, how="") + "\n")
            except CascadeError as error:
                refused.append(error)
        if refused:
            raise refused[0]
