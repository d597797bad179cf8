"""Lazy results -> Graph: building, identity, checks."""
