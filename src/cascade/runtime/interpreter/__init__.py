"""The interpreter: what the instructions mean, and the scheduler that starts what takes time."""
