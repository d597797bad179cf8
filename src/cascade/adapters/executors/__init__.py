"""Executors: where calls of tasks are carried out."""
