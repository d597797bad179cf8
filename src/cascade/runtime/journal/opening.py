"""Opening the store of an engine: what is not loaded by engines that record nothing."""

from __future__ import annotations

from typing import Any

from cascade.adapters.state.urls import backend_from
from cascade.runtime.journal.recorder import Recorder, durability_from

__all__ = ["recorder_from"]


def recorder_from(given: Any, durability: Any) -> Recorder:
    """Return what keeps the runs of an engine in the store that was given."""
    how = durability_from(durability)
    return Recorder(backend_from(given, "state_backend", how), how)
