"""Carrying out what takes time: calls, sub-flows, loops and maps, which all may hold each other."""
