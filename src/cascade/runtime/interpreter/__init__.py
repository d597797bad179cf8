"""The interpreter: what the instructions mean, and what to make of a result."""
