"""Root blocks as functions: the whole of one where that is possible, else each stretch between managed calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from cascade.compiler.emitted import Stretch
from cascade.compiler.lines import CannotEmit, Watch
from cascade.compiler.mapped import item_form
from cascade.compiler.skips import skipping
from cascade.compiler.stretches import emit_stretch
from cascade.compiler.write import PIECE
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.operations import FUSED, GATED, LOOP, MANAGED, MAP, ROUTE, SUBFLOW
from cascade.spec.placement import placements
from cascade.spec.regions import MANAGED_REGION, is_managed, regions

__all__ = ["Fused", "fuse"]

MOST_UNFIT = 3
"""So often may a function be left at a map that cannot be gone through in place."""

MOST_WHOLE = 5_000
"""A coroutine of more awaits is not worth its compilation."""


_WORDS = {MANAGED: "policy", MAP: "map", LOOP: "loop", SUBFLOW: "sub-flow"}


class Fused:
    """A root block made ready for one kind of watching."""

    __slots__ = ("avoided", "has_maps", "is_sure", "maps", "pieces", "placed_at", "reasons", "steps", "whole")

    def __init__(self) -> None:
        self.whole: Stretch | None = None
        """All of it, as one function from the constants to the value of the target."""
        self.pieces: list[Stretch] = []
        self.steps: list[tuple[int, int, object, object]] | None = None
        """What the interpreter goes through: pieces, and the instructions between them; None: nothing was fused."""
        self.reasons: dict[int, str] = {}
        """Why instructions were left to the interpreter, in words of `cascade.compiler.fuse.REASONS`."""
        self.placed_at = placements[0]
        self.is_sure = True
        self.maps: frozenset[int] = frozenset()
        """The maps that stand in functions, as far as they can."""
        self.avoided: frozenset[int] = frozenset()
        """The maps that are left to the interpreter because they could not be gone through in place."""
        self.has_maps = False

    def unfit(self) -> frozenset[int]:
        """Return the maps that functions were often left at."""
        stretches = self.pieces if self.whole is None else [self.whole]
        return frozenset(i for one in stretches for i, count in one.unfit.items() if count > MOST_UNFIT)


def fuse(blueprint: Blueprint, watch: Watch, expecting: bool = False, avoided: Collection[int] = ()) -> Fused:
    """Return the root block of a blueprint as functions, as far as its instructions can be.

    Args:
        expecting: take functions that nobody has timed for short ones.
        avoided: maps to be left to the interpreter.
    """
    block = blueprint.root
    made = Fused()
    made.avoided = frozenset(avoided)
    if not any(watch):
        made.maps = _maps(blueprint, made.avoided, expecting)
    loose = _loose(blueprint, made, expecting)
    if not loose and len(block) <= MOST_WHOLE and block.root >= 0 and (len(block) <= PIECE or _awaits(block)):
        try:
            steps = list(range(block.strict))
            title = f"{blueprint.graph.name(block.root)}_flow"
            made.whole = emit_stretch(blueprint, block, steps, range(block.strict), [block.root], watch, title)
            made.is_sure = made.whole.is_sure
            made.has_maps = made.whole.has_maps
            made.reasons.clear()
            return made
        except CannotEmit as error:
            made.reasons[block.root] = str(error)
    _fuse_pieces(blueprint, watch, made)
    return made


def _maps(blueprint: Blueprint, avoided: Collection[int], expecting: bool) -> frozenset[int]:
    """Return the maps that may stand in functions; not those that others are to flow into, which may wait."""
    block = blueprint.root
    skips = skipping(block)[0] if blueprint.skips else frozenset()
    found: set[int] = set()
    for i in range(len(block)):
        if block.ops[i] != MAP or i in avoided or i in skips:
            continue
        form = item_form(blueprint, block, i)
        flows = any(at >= 0 and block.ops[at] == MAP and at not in found for at in block.references(i))
        if form is not None and not flows and (form.inline is not None or expecting):
            found.add(i)
    return frozenset(found)


def _waits_for_measure(blueprint: Blueprint, i: int) -> bool:
    """Say whether nothing keeps a map out of functions but that its task runs in threads so far."""
    form = item_form(blueprint, blueprint.root, i)
    return form is not None and form.inline is None


def _awaits(block: Block) -> bool:
    return any(form is not None and form.is_async for form in block.forms)


def _loose(blueprint: Blueprint, made: Fused, expecting: bool) -> bool:
    """Note what must be left to the interpreter; say whether there is anything but coroutines."""
    block = blueprint.root
    found = False
    for i in range(len(block)):
        form = block.forms[i]
        if i >= block.strict and i >= blueprint.graph.needed:
            continue
        if i in made.maps:
            continue
        if block.ops[i] in _WORDS or (is_managed(block, i) and not (form is not None and form.is_async)):
            waits = block.ops[i] == MAP and _waits_for_measure(blueprint, i)
            made.reasons[i] = "threads" if waits else _WORDS.get(block.ops[i], "threads")
            found = True
        elif form is not None and form.is_async:
            made.reasons[i] = "side by side"
        elif form is not None and form.inline is None and not expecting:
            made.reasons[i] = "threads"
            found = True
    return found


def _fuse_pieces(blueprint: Blueprint, watch: Watch, made: Fused) -> None:
    block = blueprint.root
    skips = skipping(block)[0] if blueprint.skips else frozenset()
    loose = {i for i in made.reasons if i < block.strict}
    readers = _readers(blueprint)
    for i in range(block.strict):
        late = block.late_needs(i)
        if late and i not in loose and (block.ops[i] == ROUTE or block.ops[i] == GATED):
            loose.add(i)  # what it may ask for is known to nobody else
            made.reasons[i] = "late"
    numbers = regions(block, loose, made.maps)
    for last in (False, False, True):  # what may be skipped must not be seen from outside, where nobody knows why
        sizes = Counter(numbers[: block.strict])
        seen = [
            i
            for i in range(block.strict)
            if i in skips
            and i not in loose
            and (
                last
                or sizes[numbers[i]] > PIECE
                or any(at < 0 or at >= block.strict or numbers[at] != numbers[i] for at in readers.get(i, (-1,)))
            )
        ]
        if not seen:
            break
        loose.update(seen)
        made.reasons |= dict.fromkeys(seen, "late")
        numbers = regions(block, loose, made.maps)
    groups: dict[int, list[int]] = {}
    for i in range(block.strict):
        if numbers[i] != MANAGED_REGION:
            groups.setdefault(numbers[i], []).append(i)
    piece_of: dict[int, Stretch] = {}
    for members in groups.values():
        for start in range(0, len(members), PIECE):
            piece = members[start : start + PIECE]
            if len(piece) < 2:
                continue
            own = set(piece)
            outputs = [i for i in piece if any(at not in own for at in readers.get(i, ()))]
            title = f"{blueprint.graph.name(piece[-1])}_stretch"
            try:
                made_piece = emit_stretch(blueprint, block, piece, range(block.strict), outputs, watch, title)
            except CannotEmit as error:
                made.reasons |= dict.fromkeys(piece, str(error))
                continue
            made.is_sure = made.is_sure and made_piece.is_sure
            made.has_maps = made.has_maps or made_piece.has_maps
            made.pieces.append(made_piece)
            piece_of |= dict.fromkeys(piece, made_piece)
    if not made.pieces:
        return
    size = len(block)
    places = {piece: size + at for at, piece in enumerate(made.pieces)}
    steps: dict[int, tuple[int, int, object, object]] = {}
    for i in range(block.strict):
        if i in piece_of:
            at = places[piece_of[i]]
            steps.setdefault(at, (at, FUSED, None, piece_of[i]))
        else:
            steps[i] = (i, block.ops[i], block.forms[i], block.places[i])
    made.steps = list(steps.values())


def _readers(blueprint: Blueprint) -> dict[int, list[int]]:
    """Return who reads each register of the root block; what is read from elsewhere has the reader -1."""
    block, graph = blueprint.root, blueprint.graph
    found: dict[int, list[int]] = {}
    for i in range(len(block)):
        for at in (*block.needs(i), *block.late_needs(i)):
            if at >= 0:
                found.setdefault(at, []).append(i)
        gate = block.gates.get(i)
        if gate is not None:
            for at in gate.after:  # an entry of a loop looks at it from inside
                found.setdefault(at, []).append(-1 if graph.jumps else i)
    for at in (block.root, *blueprint.hoisted):
        found.setdefault(at, []).append(-1)
    return found
