"""What ends the commands of a process that was killed: a small shell beside it, which is told of each.

It reads a pipe that this process alone can write to. However this process ends, also by kill -9, the system closes the
pipe, and then the shell kills the groups of those commands that were still running. (Linux has a signal for the death
of a parent. It reaches the command alone and not what that has started, and it comes when the thread ends that started
the command.)
"""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import suppress
from subprocess import DEVNULL, PIPE, Popen
from typing import IO

__all__ = ["guarded", "unguarded"]

GUARD = r"""
trap '' HUP INT QUIT TERM
groups=' '
while read -r sign group; do
    case $sign in
        +) groups="$groups$group " ;;
        -) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"""

_lock = threading.Lock()
_groups: set[int] = set()
_pipe: IO[bytes] | None = None


def guarded(group: int) -> None:
    """Have a group of processes killed when this process ends."""
    if os.name != "posix":
        return
    with _lock:
        _groups.add(group)
        if _pipe is None or not _told("+", group):
            _start()


def unguarded(group: int) -> None:
    """Leave a group alone: its command has ended."""
    with _lock:
        if group in _groups:
            _groups.remove(group)
            _told("-", group)


def _told(sign: str, group: int) -> bool:
    """Tell the guard; say whether it is still there."""
    if _pipe is None:
        return False
    try:
        os.write(_pipe.fileno(), f"{sign} {group}\n".encode())
    except OSError:
        return False
    return True


def _start() -> None:
    """Start a guard, and tell it of all groups; where there is no shell there is none."""
    global _pipe
    with suppress(OSError):
        guard = Popen(
            ["/bin/sh", "-c", GUARD], stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, cwd="/", start_new_session=True
        )
        _pipe, guard.stdin = guard.stdin, None
        atexit.register(_end, guard)
        for group in _groups:
            _told("+", group)


def _end(guard: Popen[bytes]) -> None:
    """Wait for the guard at the end of this process."""
    if _pipe is not None:
        _pipe.close()
        guard.wait()


def _in_child() -> None:
    """Leave the guard to the parent: as long as a fork holds the pipe open it would not see that end."""
    global _pipe, _lock
    if _pipe is not None:
        _pipe.close()
    _pipe, _lock = None, threading.Lock()
    _groups.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
