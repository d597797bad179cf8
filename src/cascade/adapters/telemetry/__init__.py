"""Telemetry: where spans and measures of runs go to."""
