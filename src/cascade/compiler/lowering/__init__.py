"""Lowering: Graph -> Blueprint, and how states are entered."""
