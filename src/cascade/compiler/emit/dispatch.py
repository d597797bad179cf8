"""The writing of instructions, with those that take more than a line: maps, routers, loops."""

from __future__ import annotations

from cascade.compiler.emit.block import BlockEmitter
from cascade.compiler.emit.inner_loop import write_loop
from cascade.compiler.emit.map import write_map
from cascade.compiler.emit.router import write_route
from cascade.spec.operations import LOOP, MAP, ROUTE

__all__ = ["BlockEmitter"]

BlockEmitter.longer = {MAP: write_map, LOOP: write_loop, ROUTE: write_route}
