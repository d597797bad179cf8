"""Doors: how a running engine is asked from another process of the same user."""
