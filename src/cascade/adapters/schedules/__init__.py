"""Times at which something is to happen."""
