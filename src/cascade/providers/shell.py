"""Commands of a shell, and what becomes of them when nobody waits any more."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from subprocess import DEVNULL, PIPE, CalledProcessError
from typing import TYPE_CHECKING, Any

from cascade.providers.guard import guarded, unguarded
from cascade.spec.policies import seconds_from
from cascade.spec.shown import without_passwords
from cascade.spec.task import task

if TYPE_CHECKING:
    from asyncio.subprocess import Process

__all__ = ["ShellResult", "shell"]

GRACE = 2.0
"""Seconds that a command has to end after SIGTERM, before SIGKILL."""
LINGER = 1.0
"""Seconds that output is still read when the command has ended and others hold its ends of the pipes."""
MOST_AT_ONCE = 1 << 16
MOST_SHOWN = 2_000
"""So many characters at the end of stderr stand in the note of a failure."""


log = logging.getLogger("cascade")


@dataclass(frozen=True, slots=True)
class ShellResult:
    """What a command did. As a str it is its output without the line end, so it can be put into a text."""

    command: str | tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    def __repr__(self) -> str:
        shown = f"returncode={self.returncode!r}, stdout={self.stdout!r}, stderr={self.stderr!r}"
        return f"ShellResult(command={_shown(self.command)!r}, {shown})"

    def __str__(self) -> str:
        return self.stdout.rstrip("\r\n")


@task
async def shell(
    command: str | Sequence[str],
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: str | PathLike[str] | None = None,
    timeout: float | None = None,
) -> ShellResult:
    """Run a command, wait for its end and return its output.

    It reads nothing (stdin is empty). What it writes is decoded as UTF-8, with a replacement for what is not. It is
    in a process group of its own: when the node is cancelled or its time is up, the whole group gets SIGTERM, and
    2 seconds later SIGKILL; when this process ends, even by kill -9, the group is killed as well. What it leaves in
    the background goes on; its output is read for a second more, unless it goes elsewhere
    (`"server > server.log 2>&1 &"`), and then the pipes are closed.

    Args:
        command: a line for the shell (`/bin/sh`), or a list of a program and its arguments, which no shell reads:
            the safe way to pass values.
        check: an exit status other than 0 is a failure.
        env: variables on top of those of this process.
        cwd: where it runs; by default where this process does.
        timeout: seconds; by default as long as it takes.

    Raises:
        subprocess.CalledProcessError: the exit status is not 0 and `check` is true; a note has the end of stderr.
        TimeoutError: its time was up.
        FileNotFoundError, PermissionError: there is no such program or directory, or it may not be used.
    """
    import asyncio

    argv = _argv(command)
    seconds = None if timeout is None else seconds_from(timeout, "cs.shell(timeout=...)")
    process = await _start(argv, env, cwd)
    guarded(process.pid)
    try:
        async with asyncio.timeout(seconds) as clock:
            stdout, stderr = await _output(process, argv)
    except BaseException as error:
        await _end(process)
        if isinstance(error, TimeoutError) and clock.expired():
            raise TimeoutError(
                f"the command {_shown(argv)!r} took longer than {seconds} seconds and was ended"
            ) from None
        raise
    finally:
        unguarded(process.pid)
    status = process.returncode or 0
    result = ShellResult(argv, status, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))
    if check and status:
        shown = _shown(argv)
        failure = CalledProcessError(
            status, list(shown) if isinstance(shown, tuple) else shown, result.stdout, result.stderr
        )
        if result.stderr.strip():
            failure.add_note(f"stderr: {without_passwords(result.stderr.strip()[-MOST_SHOWN:])}")
        raise failure
    return result


def _shown(argv: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return without_passwords(argv) if isinstance(argv, str) else tuple(map(without_passwords, argv))


def _argv(command: Any) -> str | tuple[str, ...]:
    if isinstance(command, str):
        if command.strip():
            return command
        raise ValueError("cs.shell needs a command, and was given an empty one")
    if isinstance(command, (list, tuple)) and command and all(isinstance(each, (str, PathLike)) for each in command):
        return tuple(os.fspath(each) for each in command)
    raise TypeError(
        f"cs.shell takes a command as a str, or a list of str (a program and its arguments), not {command!r}"
    )


async def _start(argv: str | tuple[str, ...], env: Mapping[str, str] | None, cwd: Any) -> Process:
    """Start a command; cancelled meanwhile, it is ended before this returns."""
    import asyncio

    options: dict[str, Any] = {
        "stdin": DEVNULL,
        "stdout": PIPE,
        "stderr": PIPE,
        "cwd": cwd,
        "env": None if env is None else {**os.environ, **env},
        "start_new_session": True,
    }
    if isinstance(argv, str):
        starting = asyncio.ensure_future(asyncio.create_subprocess_shell(argv, **options))
    else:
        starting = asyncio.ensure_future(asyncio.create_subprocess_exec(*argv, **options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(Exception):
            await _end(await _until_done(starting))
        raise


async def _output(process: Process, argv: str | tuple[str, ...]) -> tuple[bytes, bytes]:
    """Wait for the end of a command and return what it wrote."""
    import asyncio

    chunks: tuple[list[bytes], list[bytes]] = ([], [])
    ended = _ended(process)
    reading = [
        asyncio.ensure_future(_collect(stream, into))
        for stream, into in zip((process.stdout, process.stderr), chunks, strict=True)
    ]
    try:
        await ended
        _, unread = await asyncio.wait(reading, timeout=LINGER)
    except BaseException:
        await _stop(reading)
        raise
    if unread:
        await _stop(reading)
        process._transport.close()  # type: ignore[attr-defined]
        log.warning(
            "the command %r has ended, and what it left in the background still has its output, which is read no more; "
            "send that elsewhere: 'server > server.log 2>&1 &'",
            _shown(argv),
        )
    await process.wait()
    return b"".join(chunks[0]), b"".join(chunks[1])


def _ended(process: Process) -> Any:
    """Return a future for the end of a process itself: `process.wait()` waits for the pipes, too."""
    import asyncio

    ended = asyncio.get_running_loop().create_future()
    protocol = process._protocol  # type: ignore[attr-defined]
    usual = protocol.process_exited

    def exited() -> None:
        usual()
        if not ended.done():
            ended.set_result(None)

    protocol.process_exited = exited
    if process.returncode is not None:
        ended.set_result(None)
    return ended


async def _collect(stream: Any, into: list[bytes]) -> None:
    while chunk := await stream.read(MOST_AT_ONCE):
        into.append(chunk)


async def _stop(reading: list[Any]) -> None:
    import asyncio

    for each in reading:
        each.cancel()
    await asyncio.wait(reading)


async def _end(process: Process) -> None:
    """End a command with all that it has started, and wait for its end, whatever happens to who waits."""
    import asyncio

    await _until_done(asyncio.ensure_future(_end_group(process)))


async def _end_group(process: Process) -> None:
    import asyncio

    reading = asyncio.ensure_future(process.communicate())  # else a full pipe would keep it from ending
    with suppress(asyncio.CancelledError):  # of a loop that closes: then it has no time
        try:
            _signal(process, signal.SIGTERM)
            await asyncio.wait({reading}, timeout=GRACE)
        finally:
            _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))  # also what outlived its shell
    await process.wait()
    reading.cancel()
    await asyncio.wait({reading})
    process._transport.close()  # type: ignore[attr-defined]  # the pipes, if a stranger holds their other ends


async def _until_done(work: Any) -> Any:
    """Wait for a piece of work to its end; a cancel that comes meanwhile is for the caller, who raises one anyway."""
    import asyncio

    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({work})
    return work.result()


def _signal(process: Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
