"""Nouns: what users declare and what the engine reads, as plain data."""
