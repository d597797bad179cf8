"""Solvers: the order in which the nodes of a graph are looked at."""
