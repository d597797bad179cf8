"""Runs that are recorded, so that they outlive their process."""
