"""The instructions that take more than a line: maps, routers, loops, sub-flows."""

from __future__ import annotations

from cascade.compiler.emit.block import Longer
from cascade.compiler.emit.inner_loop import write_loop
from cascade.compiler.emit.map import write_map
from cascade.compiler.emit.router import write_route
from cascade.compiler.emit.subflow import write_subflow
from cascade.spec.operations import LOOP, MAP, NESTED, ROUTE

__all__ = ["LONGER"]

LONGER: dict[int, Longer] = {MAP: write_map, LOOP: write_loop, ROUTE: write_route, NESTED: write_subflow}
"""What writes them."""
