"""Root blocks as functions: the whole of one where that is possible, else the straight code between managed calls.

What could be one function is decided here; how its lines are written is up to `compiler.emit`. A block is one
function if each of its instructions is a plain call of something short or awaitable that nothing could run beside. If
only its length is against that, it is a chain of functions, each of which hands on what the later ones read. Else the
calls that need the scheduler (policies, threads, coroutines side by side, sub-flows, long maps) stay instructions,
and what lies between them is ordered so that as much as possible stands together (`analysis.order`), and written as
pieces.

To emit and compile a call takes some 50 us, and no other thread runs while CPython compiles a function. So that a
large block does not hold the event loop for long it is made piece by piece (`Making`), of functions of about `PIECE`
calls, a piece in each run, which is interpreted until all are there. The alternative, to compile in a thread, does
not help, as the compiler keeps the GIL; and one function for all would be compiled for a second at 20,000 calls.

The numbers below are prices that were measured: from where on a longer function is not worth its compilation, or a
call not the values that it would have to be passed. Why functions at all, and how one is left:
docs/decisions/hot-loops.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator
from functools import partial
from threading import Lock

from cascade.compiler.analysis.inside import forms_inside, size_inside
from cascade.compiler.analysis.order import in_order
from cascade.compiler.analysis.skipping import skipping
from cascade.compiler.code.emitted import Chain, StraightCode
from cascade.compiler.code.source_writer import CannotEmit, Watch
from cascade.compiler.emit.block import PIECE
from cascade.compiler.emit.map import item_form
from cascade.compiler.emit.straight_code import write_straight_code
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.operations import CALL1, CALLN, FUSED, GATED, LOOP, MANAGED, MAP, NESTED, ROUTE, SUBFLOW
from cascade.spec.placement import placements
from cascade.spec.regions import MANAGED_REGION, regions

__all__ = ["FusedRoot", "Making", "fuse"]

MOST_UNFIT = 3
"""So often may a function be left at a map that cannot be gone through in place."""

MOST_WHOLE = 5_000
"""A coroutine of more awaits is not worth its compilation."""

MOST_AT_ONCE = 300
"""A coroutine of more calls is made of several, where nothing can be skipped, or not at all."""

MOST_CHAINED = 600
"""So many calls has each of these: to go from one to the next costs as much as some 15 calls."""

LARGE = 1_000
"""To look at so many calls, before any is written, takes a few ms."""

OPERANDS = 32
"""To pass so many values takes as long to compile as a call of a few."""

MOST_OPERANDS = 400
"""What takes more values is left to the interpreter: each may be an argument of the function."""


_WORDS = {MANAGED: "policy", MAP: "map", LOOP: "loop", SUBFLOW: "sub-flow"}


class FusedRoot:
    """A root block made ready for one kind of watching."""

    __slots__ = ("avoided", "has_maps", "is_sure", "maps", "pieces", "placed_at", "reasons", "sizes", "steps", "whole")

    def __init__(self) -> None:
        self.whole: StraightCode | Chain | None = None
        """All of it, as one function from the constants to the value of the target, or a chain of them."""
        self.pieces: list[StraightCode] = []
        self.steps: list[tuple[int, int, object, object]] | None = None
        """What the interpreter goes through: pieces, and the instructions between them; None: nothing was fused."""
        self.reasons: dict[int, str] = {}
        """Why instructions were left to the interpreter, in words of `cascade.compiler.analysis.order.REASONS`."""
        self.placed_at = placements[0]
        self.is_sure = True
        self.maps: frozenset[int] = frozenset()
        """The maps that stand in functions, as far as they can."""
        self.avoided: frozenset[int] = frozenset()
        """The maps that are left to the interpreter because they could not be gone through in place."""
        self.has_maps = False
        self.sizes: dict[int, int] = {}
        """How many instructions the sub-flows have that stand in functions."""

    def unfit(self) -> frozenset[int]:
        """Return the maps that functions were often left at."""
        codes = self.pieces if self.whole is None else [self.whole]
        return frozenset(i for one in codes for i, count in one.unfit.items() if count > MOST_UNFIT)


class Making:
    """A root block that is being made ready, in pieces of some 10 ms."""

    __slots__ = ("_begin", "_lock", "_work", "made")

    def __init__(self, blueprint: Blueprint, watch: Watch, avoided: frozenset[int]) -> None:
        self.made: FusedRoot | None = None
        self._begin = partial(_pieces, blueprint, watch, False, avoided)
        self._work = self._begin()
        self._lock = Lock()

    def go_on(self) -> FusedRoot | None:
        """Do one more piece; return the block once it is all there. If another thread is at it, leave it to that."""
        if self.made is None and self._lock.acquire(blocking=False):
            try:
                next(self._work)
            except StopIteration as end:
                self.made = end.value
            except BaseException:  # Ctrl-C may come anywhere
                self._work = self._begin()
                raise
            finally:
                self._lock.release()
        return self.made


def fuse(blueprint: Blueprint, watch: Watch, expecting: bool = False) -> FusedRoot:
    """Return the root block of a blueprint as functions, as far as its instructions can be, made all at once.

    Args:
        expecting: take functions that nobody has timed for short ones.
    """
    work = _pieces(blueprint, watch, expecting, frozenset())
    while True:
        try:
            next(work)
        except StopIteration as end:
            made: FusedRoot = end.value
            return made


Pieces = Generator[None, None, FusedRoot]
"""Work that can be put aside at each yield."""


def _pieces(blueprint: Blueprint, watch: Watch, expecting: bool, avoided: frozenset[int]) -> Pieces:
    """Make the root block of a blueprint ready.

    Args:
        avoided: maps to be left to the interpreter.
    """
    block = blueprint.root
    made = FusedRoot()
    made.avoided = avoided
    if len(block) > LARGE:
        yield
    if not any(watch):
        made.maps = _maps(blueprint, made.avoided, expecting)
    loose = _loose(blueprint, made, expecting, any(watch))
    if not loose and len(block) <= MOST_WHOLE and block.root >= 0:
        awaits = _awaits(block)
        most = MOST_AT_ONCE if awaits else PIECE
        try:
            if len(block) <= most and _weight(block, range(len(block)), made.sizes) <= MOST_AT_ONCE:
                make = _whole(blueprint, watch)
                if len(block) > LARGE:
                    yield
                made.whole = make()
            elif awaits and len(block) == block.strict and not blueprint.skips and not _wide(block):
                made.whole = yield from _chain(blueprint, watch, made.sizes)
        except CannotEmit as error:
            made.reasons[block.root] = str(error)
        if made.whole is not None:
            made.is_sure, made.has_maps = made.whole.is_sure, made.whole.has_maps
            made.reasons.clear()
            return made
    yield from _fuse_pieces(blueprint, watch, made)
    return made


def _whole(blueprint: Blueprint, watch: Watch) -> Callable[[], StraightCode]:
    block = blueprint.root
    steps = list(range(block.strict))
    title = f"{blueprint.graph.name(block.root)}_flow"
    return write_straight_code(blueprint, block, steps, range(block.strict), [block.root], watch, title)


def _chain(blueprint: Blueprint, watch: Watch, sizes: dict[int, int]) -> Generator[None, None, Chain]:
    """Return coroutine functions that are awaited one after the other."""
    block = blueprint.root
    steps = in_order(block, list(range(block.strict)), range(block.strict))
    if len(block) > LARGE:
        yield
    readers = _readers(blueprint)
    parts = []
    for piece in _cut(block, steps, sizes, MOST_CHAINED):
        yield
        outputs = _outputs(piece, readers)
        title = f"{blueprint.graph.name(piece[-1])}_flow"
        make = write_straight_code(blueprint, block, piece, range(block.strict), outputs, watch, title)
        yield
        parts.append(make())
    return Chain(parts)


def _wide(block: Block) -> list[int]:
    """Return what takes too many values."""
    kinds = block.kinds
    return [i for i in range(block.strict) if kinds[i] > CALL1 and len(block.references(i)) > MOST_OPERANDS]


def _weight(block: Block, steps: Collection[int], sizes: dict[int, int]) -> int:
    """Return how long it takes to compile instructions, in calls of a few values each."""
    inside = sum(sizes[i] for i in steps if i in sizes) if sizes else 0
    return len(steps) + inside + sum(len(block.references(i)) for i in steps if block.kinds[i] > CALL1) // OPERANDS


def _cut(block: Block, steps: list[int], sizes: dict[int, int], most: int = PIECE) -> list[list[int]]:
    """Cut instructions into pieces that do not take long to compile."""
    pieces: list[list[int]] = []
    weight = most
    for i in steps:
        own = 1 if block.kinds[i] <= CALL1 else 1 + sizes.get(i, 0) + len(block.references(i)) // OPERANDS
        if weight + own > most:
            pieces.append([])
            weight = 0
        pieces[-1].append(i)
        weight += own
    return pieces


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


def _loose(blueprint: Blueprint, made: FusedRoot, expecting: bool, watched: bool) -> bool:
    """Note what must be left to the interpreter; say whether there is anything but coroutines."""
    block = blueprint.root
    found = False
    for i in range(len(block)):
        form = block.forms[i]
        if i >= block.strict and i >= blueprint.graph.needed:
            continue
        if i in made.maps:
            continue
        if _is_under_policy(block, i, watched):
            made.reasons[i] = "policy"
            found = True
        elif block.ops[i] == NESTED:
            why = _keeps_out(blueprint.subflows[block.source(i)], expecting, watched)
            if why:
                made.reasons[i] = why
                found = True
            else:
                made.sizes[i] = size_inside(blueprint.subflows[block.source(i)])
        elif block.ops[i] in _WORDS:
            waits = block.ops[i] == MAP and _waits_for_measure(blueprint, i)
            made.reasons[i] = "threads" if waits else _WORDS[block.ops[i]]
            found = True
        elif form is not None and form.is_async:
            made.reasons[i] = "side by side"
        elif form is not None and form.inline is None and not (expecting and form.task.mode == "auto"):
            made.reasons[i] = "threads"
            found = True
    return found


def _keeps_out(inner: Blueprint, expecting: bool, watched: bool) -> str:
    """Return why a sub-flow cannot stand among the calls around it, or nothing."""
    if watched or not size_inside(inner):
        return "sub-flow"
    forms = [form for form in forms_inside(inner) if form.inline is None]
    return "" if all(expecting and form.task.mode == "auto" for form in forms) else "threads"


def _is_under_policy(block: Block, i: int, watched: bool) -> bool:
    """Say whether a call that may be made in place had better not be in a function: it is told of, or asks in vain."""
    gate, form = block.gates.get(i), block.forms[i]
    if gate is None or form is None or (block.ops[i] > CALLN and block.ops[i] != GATED):
        return False
    if watched and (gate.terms.retry is not None or gate.terms.asks):
        return True  # all its attempts are one call
    # What is not there at the first call of each run would have the function left there.
    return gate.terms.asks and (gate.terms.injects or gate.terms.cache is not None or bool(form.task.needs))


def _fuse_pieces(blueprint: Blueprint, watch: Watch, made: FusedRoot) -> Generator[None, None, None]:
    block = blueprint.root
    skips = skipping(block)[0] if blueprint.skips else frozenset()
    for i in _wide(block):
        made.reasons.setdefault(i, "size")
    for i, gate in block.gates.items():
        if gate.terms.asks and block.ops[i] == GATED:
            made.reasons[i] = "policy"  # it asks in its turn among those that the scheduler sees to
    loose = {i for i in made.reasons if i < block.strict}
    if len(block) > LARGE:
        yield
    readers = _readers(blueprint)
    for i in range(block.strict):
        late = block.late_needs(i)
        if late and i not in loose and (block.ops[i] == ROUTE or block.ops[i] == GATED):
            loose.add(i)  # what it may ask for is known to nobody else
            made.reasons[i] = "late"
    if len(block) > LARGE:
        yield
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
        if len(block) > LARGE:
            yield
        numbers = regions(block, loose, made.maps)
    groups: dict[int, list[int]] = {}
    for i in range(block.strict):
        if numbers[i] != MANAGED_REGION:
            groups.setdefault(numbers[i], []).append(i)
    pieces = [piece for members in groups.values() for piece in _cut(block, members, made.sizes) if len(piece) > 1]
    piece_of: dict[int, StraightCode] = {}
    weight = 0
    for piece in pieces:
        own = _weight(block, piece, made.sizes)
        if weight + own > PIECE:
            yield
            weight = 0
        weight += own
        outputs = _outputs(piece, readers)
        title = f"{blueprint.graph.name(piece[-1])}_straight_code"
        try:
            make = write_straight_code(blueprint, block, piece, range(block.strict), outputs, watch, title)
        except CannotEmit as error:
            made.reasons |= dict.fromkeys(piece, str(error))
            continue
        made.pieces.append(make())
        piece_of |= dict.fromkeys(piece, made.pieces[-1])
    made.is_sure = all(piece.is_sure for piece in made.pieces)
    made.has_maps = any(piece.has_maps for piece in made.pieces)
    if made.pieces:
        made.steps = _steps(block, made.pieces, piece_of)


def _outputs(piece: list[int], readers: dict[int, list[int]]) -> list[int]:
    """Return what others read of some instructions."""
    own = set(piece)
    return [i for i in piece if any(at not in own for at in readers.get(i, ()))]


def _steps(
    block: Block, pieces: list[StraightCode], piece_of: dict[int, StraightCode]
) -> list[tuple[int, int, object, object]]:
    """Return what the interpreter goes through: pieces, and the instructions between them."""
    size = len(block)
    places = {piece: size + at for at, piece in enumerate(pieces)}
    steps: dict[int, tuple[int, int, object, object]] = {}
    for i in range(block.strict):
        if i in piece_of:
            at = places[piece_of[i]]
            steps.setdefault(at, (at, FUSED, None, piece_of[i]))
        else:
            steps[i] = (i, block.ops[i], block.forms[i], block.places[i])
    return list(steps.values())


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
