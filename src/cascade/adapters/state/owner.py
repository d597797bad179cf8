"""Which process a run belongs to, and whether that process is still there.

A pid says nothing by itself: it is given again, and means another process in another container or after a boot. So an
owner is known by its boot, its pid namespace, its pid and when it began. Only who shares boot and namespace with it can
look; of all others nothing is known but when they last gave a sign of life.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache

from cascade.spec.state import LEASE, Owner

__all__ = ["can_see", "is_alive", "this_process"]

ENDED = frozenset("ZXx")
"""The states of a process that has ended, whether or not its parent has asked for it."""


def this_process() -> Owner:
    """Return this process as the owner of a run."""
    return _owner(os.getpid())


@lru_cache(maxsize=2)
def _owner(pid: int) -> Owner:
    """Return what a process of ours is known by; of a fork the pid is another."""
    import socket

    boot, namespace, began = _boot(), _namespace(), _began(pid)
    if began is None or began == "":  # it cannot be looked at, and so it is known by its beats alone
        boot, began = "", ""
    return Owner(boot, namespace, pid, began, socket.gethostname())


def is_alive(owner: Owner, beat: float, now: float) -> bool:
    """Say whether an owner is still there: by its process where that can be seen from here, else by its last beat.

    Args:
        beat: when it last gave a sign of life.
        now: the time, by the same clock.
    """
    if can_see(owner):
        began = _began(owner.pid)
        if began is None:
            return False
        if began:
            return began == owner.began
    return now - beat < LEASE


def can_see(owner: Owner) -> bool:
    """Say whether the process of an owner can be seen from here: of the same boot and pid namespace."""
    ours = this_process()
    return bool(owner.boot) and (owner.boot, owner.namespace) == (ours.boot, ours.namespace)


def _began(pid: int) -> str | None:
    """Return when a process of this namespace began: None if it is gone, "" if that cannot be seen."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, *fields = file.read().rpartition(b")")[2].decode("ascii").split()
        except ProcessLookupError:
            return None
        except OSError:
            return _hidden(pid)
        return None if state in ENDED else fields[18]
    return _by_command(pid) if os.name == "posix" else ""


def _hidden(pid: int) -> str | None:
    """Return "" for a process that is there but cannot be looked at, None for one that is gone."""
    if not os.path.exists("/proc/self/stat"):
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""


def _by_command(pid: int) -> str | None:
    """Ask the command `ps` when a process began, where there is no /proc."""
    told = _told_by("ps", "-o", "stat=,lstart=", "-p", str(pid))
    if told is None:
        return ""
    state, _, began = told.strip().partition(" ")
    return None if not state or state[0] in ENDED else began.strip()


@lru_cache(maxsize=1)
def _boot() -> str:
    """Return what this boot of the host is known by; "" where there is nothing of the kind."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        return (_told_by("sysctl", "-n", "kern.bootsessionuuid") or "").strip()
    return ""


def _namespace() -> str:
    """Return which pids this process sees; "" where there is one such view alone."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _told_by(*command: str) -> str | None:
    """Return what a command writes, None if there is no such command."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return None
