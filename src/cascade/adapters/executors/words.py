"""What a call says from a process of its own while it runs: how far it has come, and that it is alive.

Each worker has a pipe for it, beside that of the pool, which carries outcomes alone. The event loop reads it where it
reads everything: what has arrived is heard before a timer comes due, also if the loop was held meanwhile. A word is
short enough to be written at once, so none is ever torn, and who kills a worker leaves nothing half said.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

__all__ = ["beat", "begin", "hear", "number", "report"]

OFTEN = 0.05
"""So many seconds are between two words of how far a call has come."""
ALIVE = 0.01
"""... and between two signs of life."""
number = 0
"""In another process: which of its calls it is at, from 1. A word says it, as a thread of an earlier call may go on."""
_pipe: Any = None
_latest: tuple[int, float, float | None] | None = None
_new = threading.Event()
_lock = threading.Lock()
_beaten = 0.0


def begin(pipe: Any) -> None:
    """Say what there is to say into this pipe, in a process that was just started."""
    global _pipe
    _pipe = pipe


def next_call() -> None:
    """Count a call that begins."""
    global number, _beaten
    number += 1
    _beaten = 0.0


def report(call: int, done: float, total: float | None) -> None:
    """Say how far a call has come. It is sent by a thread, the last word soon, and not more often than it is read."""
    global _latest
    if _pipe is not None and call == number:
        is_first = _latest is None
        _latest = call, done, total
        if is_first:
            threading.Thread(target=_tell, name="cascade-words", daemon=True).start()
        _new.set()


def beat(call: int) -> None:
    """Give a sign of life, at once: whatever the call does next may hold the interpreter."""
    global _beaten
    now = monotonic()
    if _pipe is not None and call == number and now - _beaten >= ALIVE:
        _beaten = now
        _send((call,))


def _tell() -> None:
    while True:
        _new.wait()
        _new.clear()
        _send(_latest)
        sleep(OFTEN)


def _send(word: Any) -> None:
    with _lock, suppress(OSError):  # nobody reads any more
        _pipe.send(word)


def hear(pipe: Any, call: int, place: Any) -> bool:
    """Take down what has arrived from a worker that is at its call number `call`; False: it has ended.

    Args:
        place: what takes it (see `Inside.about_here`); None: nobody does.
    """
    try:
        while pipe.poll():
            at, *far = pipe.recv()
            if at == call and place is not None:
                if far:
                    place.report(*far)
                elif place.pulse is not None:
                    place.pulse.beat(is_prompt=False)
    except (EOFError, OSError):
        return False
    return True
