"""Runs that are put into queues, for servers to carry out."""
