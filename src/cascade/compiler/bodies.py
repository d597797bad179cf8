"""The writing of instructions, with those that take more than a line: maps, routers, loops."""

from __future__ import annotations

from cascade.compiler.mapped import write_map
from cascade.compiler.nested import write_loop
from cascade.compiler.routed import write_route
from cascade.compiler.write import Body
from cascade.spec.operations import LOOP, MAP, ROUTE

__all__ = ["Body"]

Body.longer = {MAP: write_map, LOOP: write_loop, ROUTE: write_route}
