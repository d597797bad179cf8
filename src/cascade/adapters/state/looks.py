"""Some steps of many in PostgreSQL, for people: read in pages and counted by node, without their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cascade.adapters.state.tables import digest_of, escaped, plain
from cascade.spec.state import OUTCOMES, StepRecord, StepSum

__all__ = ["some_steps", "step_sums"]

BEGUN = "begun"
BESIDES = "^?"
"""Ends the keys of what was begun; before it stands the key of its value."""
ENDED = [*OUTCOMES]
MOST_NODES = 10_000
_LOOKED_AT = ", ".join("''::bytea" if name == "value" else name for name in StepRecord._fields)
_NODE = "CASE WHEN right(task_id, 1) = ']' THEN split_part(task_id, '[', 1) ELSE task_id END"
SOME_STEPS = (
    f"SELECT number, {_LOOKED_AT} FROM cascade_steps WHERE run = %(run)s AND number > %(after)s AND task_id <> '' "
    "AND kind = ANY(%(kinds)s) AND (%(node)s::text IS NULL OR task_id = %(node)s OR starts_with(task_id, %(items)s)) "
    "AND (%(entry)s::bigint IS NULL OR entry = %(entry)s) "
    "AND (%(text)s = '' OR strpos(lower(task_id), %(text)s) > 0 OR strpos(lower(error), %(text)s) > 0) "
    "ORDER BY number LIMIT %(limit)s"
)
WHICH_ENDED = "SELECT digest FROM cascade_steps WHERE run = %s AND digest = ANY(%s) AND kind = ANY(%s)"
_IS_OPEN = (
    "kind = 'begun' AND NOT EXISTS (SELECT 1 FROM cascade_steps AS value WHERE value.run = step.run "
    "AND value.key = rtrim(step.key, '^?') AND value.kind = ANY(%(ended)s))"
)
STEP_SUMS = "SELECT * FROM (" + " UNION ALL ".join(
    f"SELECT {_NODE}, kind, count(*), min(started), max(ended), sum(greatest(0.0, ended - started)), max(entry), "
    "max(attempt), coalesce(min(nullif(error, '')), ''), min(number) AS at FROM cascade_steps AS step "
    f"WHERE run = %(run)s AND task_id <> '' AND {which} GROUP BY 1, 2"
    for which in ("kind = ANY(%(ended)s)", _IS_OPEN)
)
STEP_SUMS += f") AS sums ORDER BY at LIMIT {MOST_NODES}"


def some_steps(
    db: Any, run: int, after: int, limit: int, kinds: Sequence[str], text: str, node: str | None, entry: int | None
) -> list[tuple[int, StepRecord]]:
    """Return some steps with their numbers: in order, those alone that are wanted."""
    named = None if node is None else escaped(node, is_shown=True)
    given = {"run": run, "kinds": list(kinds), "text": escaped(text.lower(), is_shown=True), "entry": entry}
    given |= {"node": named, "items": f"{named}[", "limit": limit}
    found: list[tuple[int, StepRecord]] = []
    while len(found) < limit:
        rows = db.execute(SOME_STEPS, {**given, "after": after}).fetchall()
        for number, *row in rows:
            found.append((number, StepRecord._make(plain(each) if each.__class__ is str else each for each in row)))
            after = number
        begun = {digest_of(step.key.rstrip(BESIDES)) for _, step in found if step.kind == BEGUN}
        if begun:
            ended = {bytes(each) for (each,) in db.execute(WHICH_ENDED, (run, list(begun), ENDED)).fetchall()}
            found = [one for one in found if one[1].kind != BEGUN or digest_of(one[1].key.rstrip(BESIDES)) not in ended]
        if len(rows) < limit:
            break
    return found[:limit]


def step_sums(db: Any, run: int) -> list[StepSum]:
    """Return the steps of a run counted by node and kind."""
    rows = db.execute(STEP_SUMS, {"run": run, "ended": ENDED}).fetchall()
    return [StepSum._make([plain(node), kind, *rest, plain(error)]) for node, kind, *rest, error, _ in rows]
