"""Emitted code: its text, its function, its guards, and what is known at each line."""
