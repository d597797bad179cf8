"""What an engine of before a fork is in the child: one that knows nothing of what went on in the parent.

Threads, event loops and worker processes are the parent's. So are the resources that it has set up: the child sets
up its own, and never tears down those.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from cascade.adapters.executors.local import LocalExecutor
from cascade.spec.placement import forget_waiters

__all__ = ["engines"]

engines: WeakSet[Any] = WeakSet()
"""The engines that are renewed in each child that is forked."""


def _renew_all() -> None:
    forget_waiters()
    for engine in list(engines):
        _renew(engine)


def _renew(engine: Any) -> None:
    left = [engine.executor, *engine.parted(), engine.__dict__.pop("kept", None)]
    if isinstance(engine.executor, LocalExecutor):
        left += engine.executor.parted()
    engine.caches.flights.clear()
    left += engine.bus.parted()
    before, engine.admitting = engine.__dict__.pop("_own", None), None
    if before is not None:  # the same limits stand, but no call runs or waits
        engine.admission.limits.clock, engine.admission.limits.table = before.limits.clock, before.limits.table
    _keep_forever(left)


def _keep_forever(things: list[Any]) -> None:
    """Never collect these: what is suspended would go on to its `finally`, and close what the parent still uses."""
    with suppress(ImportError):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(things))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
