"""Compiled root blocks: entering them, and going on by interpreting where they are left."""
