"""Steering an engine from outside."""
