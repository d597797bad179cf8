"""Connectors: where messages come from and go to."""
