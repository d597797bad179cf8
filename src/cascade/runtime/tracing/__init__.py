"""Runs whose calls have spans."""
