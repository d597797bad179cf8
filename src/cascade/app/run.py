"""Running from a script: one call that owns the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from cascade.app.blocking import block_on
from cascade.app.inner import on_its_loop, wait_for
from cascade.app.progress import Progress
from cascade.app.report import Reporter
from cascade.app.tracebacks import trim
from cascade.runtime.engine import Container, Engine, Params
from cascade.runtime.events.bus import MessageBus
from cascade.spec.connecting import resource_of
from cascade.spec.events import RunWarning
from cascade.spec.inside import inside_of
from cascade.spec.keywords import no_option
from cascade.spec.lazy import Lazy, R
from cascade.spec.policies import Hook
from cascade.spec.resource import Resource
from cascade.spec.run_options import (
    Durability,
    LogFormat,
    LogLevel,
    OnChange,
    RunOptions,
    ScriptOptions,
    SilentOptions,
)

if TYPE_CHECKING:
    from cascade.adapters.telemetry import TelemetrySubscriber
    from cascade.app.recording import Recording

__all__ = ["arun", "run"]

V = TypeVar("V")
DOOR_AFTER = 0.5
"""Seconds after which a run can be steered from outside: shorter ones pay nothing for it."""
OPTIONS = ("params", *ScriptOptions.__annotations__)
SILENT_OPTIONS = ("params", *SilentOptions.__annotations__)


@overload
def run(target: Lazy[R], params: Params = None, **options: Unpack[ScriptOptions]) -> R: ...
@overload
def run(target: Container, params: Params = None, **options: Unpack[ScriptOptions]) -> Any: ...
@overload
def run(target: V, params: Params = None, **options: Unpack[ScriptOptions]) -> V: ...
def run(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
    budget: Mapping[str, float] | None = None,
    on_failure: Hook = None,
    on_success: Hook = None,
    log_level: LogLevel = "INFO",
    log_format: LogFormat = "human",
    connector: Any = None,
    state_backend: Any = None,
    run_id: str | None = None,
    durability: Durability = "group",
    on_change: OnChange = "keep",
    park: bool | float = False,
    control: bool = True,
    record: str | os.PathLike[str] | None = None,
    **unknown: Any,
) -> Any:
    """Run a target to its end and return its value; reports to stderr.

    In a script it owns the event loop. Where a loop already runs (a notebook) it blocks that loop until the
    run is done, in a loop of its own in a helper thread; `await cs.arun(...)` is the better way there.

    In a task that has a thread of its own the run belongs to the engine of that task, as one of `arun` does, and is
    reported with it. In one on the thread of the event loop it is a RuntimeError: `await cs.arun(...)` there.

    Args:
        target: what `Engine.run` takes.
        params: values for the parameters of the graph.
        resources: resources that tasks ask for by name.
        system_resources: capacities for `with_constraints`.
        timeout: how many seconds the run may take.
        budget: as in `Engine.run`.
        on_failure, on_success: as in `Engine.run`.
        log_level: "DEBUG" tells of each task, "INFO" of the run, retries and warnings, "WARNING" of what
            needs attention, "ERROR" of a failed run, "SILENT" of nothing.
        log_format: "human", or "json" for one JSON object a line, for records of `logging` too: those made in tasks
            have `run_id` and `task_id`.
        connector: carries messages for `cs.recv`; the run also takes pauses and limits from it, and publishes its state
            there (`TelemetrySubscriber`).
        state_backend: where the run is recorded, so that it goes on after a crash: the path of a SQLite file, a URL or
            a store object; by default nowhere.
        run_id: what the run is called; one that is recorded goes on where it was. By default a fresh one.
        durability, on_change, park: as in `Engine.run`.
        control: whether other processes of the same user may steer the run (`cascade ps`, `pause`, `watch` and so on)
            once it has lasted half a second. The environment variable CASCADE_CONTROL=0 says no as well.
        record: the path of a page (HTML) that is written when the run has ended, however it did: its picture, and over
            that what happened, with errors, parameters and the beginnings of results. By default none.

    Raises:
        Exception: whatever a task raised, with a note that says which node it was; its traceback has the frames of
            your own code (at "DEBUG" all of them).
        TimeoutError: the run took longer than its timeout.
        KeyboardInterrupt: Ctrl-C; the run was cancelled and has ended, and stderr says what was running.
        SystemExit: SIGTERM (with the code 143) or SIGHUP (129), where the program has no handler of its own for it.
    """
    if unknown:
        raise no_option("cs.run", unknown, OPTIONS)
    if connector is not None:
        resources = (*resources, resource_of(connector, "cs.run(connector=...)"))
    inside = inside_of()
    if inside is not None:
        work = arun(
            target,
            params,
            resources=resources,
            system_resources=system_resources,
            timeout=timeout,
            budget=budget,
            on_failure=on_failure,
            on_success=on_success,
        )
        return wait_for(inside, work)
    reporter = Reporter(log_level, log_format)
    recording, bus = (None, MessageBus()) if record is None else _recording(record, target)
    reporter.attach(bus)
    engine: Engine | None = None
    try:
        engine = Engine(
            bus=bus,
            system_resources=system_resources,
            state_backend=state_backend,
            durability=durability,
            connector=connector,
        )
        given = tuple(resources)
        options: RunOptions = {"run_id": run_id, "on_change": on_change, "timeout": timeout, "resources": given}
        options |= {"budget": budget, "park": park, "on_failure": on_failure, "on_success": on_success}
        opens = control and os.environ.get("CASCADE_CONTROL", "1") not in ("0", "off", "false")
        telemetry = None if connector is None else _telemetry(bus, connector)
        with reporter.records():
            return block_on(_run(engine, target, params, reporter.progress, opens, telemetry, **options))
    except BaseException as error:
        if engine is not None and engine.steering is not None:  # an event loop that was left behind has not closed it
            engine.steering.shut()
        if log_level != "DEBUG":
            trim(error)
        raise
    finally:
        if recording is not None:
            recording.write()


@overload
async def arun(target: Lazy[R], params: Params = None, **options: Unpack[SilentOptions]) -> R: ...
@overload
async def arun(target: Container, params: Params = None, **options: Unpack[SilentOptions]) -> Any: ...
@overload
async def arun(target: V, params: Params = None, **options: Unpack[SilentOptions]) -> V: ...
async def arun(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    resources: Iterable[Resource] = (),
    system_resources: Mapping[str, float] | None = None,
    timeout: float | None = None,
    budget: Mapping[str, float] | None = None,
    on_failure: Hook = None,
    on_success: Hook = None,
    **unknown: Any,
) -> Any:
    """Run a target on the event loop that is running, silently, and return its value; takes what `run` takes.

    Inside of a task the run belongs to the engine of that task, with its limits, capacities, resources and events;
    with `system_resources` it has an engine of its own there, too.
    """
    if unknown:
        raise no_option("cs.arun", unknown, SILENT_OPTIONS, "cs.run")
    inside = inside_of()
    if inside is None or system_resources is not None:
        engine = Engine(system_resources=system_resources)
        return await _run(
            engine,
            target,
            params,
            timeout=timeout,
            budget=budget,
            resources=tuple(resources),
            on_failure=on_failure,
            on_success=on_success,
        )
    given = (*inside.run.known.values(), *resources)
    run = inside.run.engine.run
    options: RunOptions = {"timeout": timeout, "budget": budget, "resources": given}
    work = run(target, params, on_failure=on_failure, on_success=on_success, **options)
    return await on_its_loop(inside, work)


async def _run(
    engine: Engine,
    target: Any,
    params: Params,
    progress: Progress | None = None,
    opens: bool = False,
    telemetry: TelemetrySubscriber | None = None,
    **options: Unpack[RunOptions],
) -> Any:
    async with engine:
        if progress is not None:
            progress.watch(engine)
        door = asyncio.get_running_loop().call_later(DOOR_AFTER, engine.open_door) if opens else None
        try:
            value = await engine.run(target, params, **options)
            if engine.bus.wants(RunWarning) and (lost := engine.caches.lost()):
                engine.bus.publish(RunWarning(run_id="", code="CacheLost", message=lost))
            return value
        finally:
            value = None  # it may hold errors whose tracebacks lead here
            if door is not None:
                door.cancel()
            if progress is not None:
                progress.stop()
            if telemetry is not None:
                await telemetry.shutdown()


def _recording(path: str | os.PathLike[str], target: Any) -> tuple[Recording, MessageBus]:
    from cascade.app.recording import PREVIEWS, Recording

    recording, bus = Recording(path, target), MessageBus(previews=PREVIEWS)
    recording.attach(bus)
    return recording, bus


def _telemetry(bus: MessageBus, connector: Any) -> TelemetrySubscriber:
    from cascade.adapters.telemetry import TelemetrySubscriber

    return TelemetrySubscriber(bus, connector)
