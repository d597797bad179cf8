"""How who enqueues a run in a file wakes the servers that use it: a datagram to a socket of each, beside the file.

The folder is nobody else's to write to (`files.py`), and a datagram says nothing but that there may be something to do.
Where there can be no such socket, nobody is woken, and servers look once a second.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from glob import escape, glob

__all__ = ["listen", "wake"]

LONGEST = 100
"""Letters of the path of a socket, on all systems."""
_numbers = itertools.count(1)


def wake(file: str) -> None:
    """Tell all who listen at a file; take away the sockets of those that are gone."""
    found = glob(f"{escape(file)}-wake-*") if hasattr(socket, "AF_UNIX") else []
    if not found:
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as out:
        out.setblocking(False)
        for path in found:
            try:
                with _reachable(path) as place:
                    out.sendto(b"!", place)
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            except OSError:  # it is full, so it will wake; or it is no socket
                pass


def listen(file: str, wake: Callable[[], None]) -> Callable[[], None]:
    """Call something whenever somebody wakes who listens at a file, from a thread; return what ends that."""
    path = f"{file}-wake-{os.getpid()}-{next(_numbers)}"
    if not hasattr(socket, "AF_UNIX"):
        return lambda: None
    ears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a process of the same pid that was killed
        with _reachable(path) as place:
            ears.bind(place)
    except OSError:
        ears.close()
        return lambda: None

    def hear() -> None:
        with ears:
            while ears.recv(1) == b"!":
                wake()

    thread = threading.Thread(target=hear, name="cascade-wake", daemon=True)
    thread.start()

    def end() -> None:
        with contextlib.suppress(OSError), _reachable(path) as place:
            with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as out:
                out.sendto(b".", place)
            thread.join()
        with contextlib.suppress(OSError):
            os.unlink(path)

    return end


@contextlib.contextmanager
def _reachable(path: str) -> Iterator[str]:
    """Give a name of a socket that is short enough for the system, where its path is not."""
    if len(os.fsencode(path)) <= LONGEST:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)
