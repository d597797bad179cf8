"""What a node is, and what its instruction does.

The first eight say what a node is; the same numbers are the instructions that a lowered node starts as:

    CALL1 CALL0 CALLN   call a task; nothing can keep it from running. Under a retry policy this is the first attempt:
                        if that fails, the call is managed from there on
    PACK                make a container of values
    ROUTE               look at a selector, ask for one route, and be what it gives
    MAP                 call a task for each item
    OPTIONAL            be a value, or None where it was skipped with nothing
    SUBFLOW             run another blueprint with parameters of its own
    GATED               the same, if its gate lets it (condition, order, skipped inputs), and once what it takes is at
                        hand (constraints, resources, a result that is kept); if not, the call is managed
    MANAGED             call a task under a policy (cache, timeout, lazy amounts), a coroutine under any, or a generator
    LOOP                call a task and follow its jumps until the loop ends
    NESTED              a SUBFLOW that nothing is set on and of which nothing can be skipped: what it calls may stand
                        among the calls around it
    IMPORT              take the value of a node of the root block that runs once a run

FUSED is none of a node: it stands for a stretch of instructions that was emitted as one function. MOVE1 is
CALL1 where a step is carried out that lets go of its argument if it is the last to read it.
"""

from __future__ import annotations

__all__ = [
    "CALL0",
    "CALL1",
    "CALLN",
    "FUSED",
    "GATED",
    "IMPORT",
    "KINDS",
    "LOOP",
    "MANAGED",
    "MAP",
    "MOVE1",
    "NESTED",
    "OPERATIONS",
    "OPTIONAL",
    "PACK",
    "ROUTE",
    "SUBFLOW",
]

# A call with one argument has its reference as `place`; every other node has there the offset of its
# references in `operands`: first how many, then each.
CALL1, CALL0, CALLN, PACK, ROUTE, MAP, SUBFLOW, OPTIONAL = range(8)
KINDS = ("task", "task", "task", "container", "router", "map", "subflow", "optional")

GATED, MANAGED, LOOP, IMPORT, NESTED, FUSED, MOVE1 = range(8, 15)
OPERATIONS = (
    *("call", "call", "call", "pack", "route", "map", "subflow", "optional"),
    *("gated call", "managed call", "loop", "import", "nested subflow"),
)
