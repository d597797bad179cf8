"""Admission: who may start, under limits and capacities."""
