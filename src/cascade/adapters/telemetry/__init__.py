"""Telemetry: where what runs tell goes to."""

from cascade.adapters.telemetry.topics import TelemetrySubscriber

__all__ = ["TelemetrySubscriber"]
