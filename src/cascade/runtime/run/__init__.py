"""The state of one run: what its parts ask of it, and what it reports."""
