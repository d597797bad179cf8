"""A long import that may be killed at any moment, and goes on where it was.

    python examples/long_import.py             # and, in another terminal: kill -9 PID
    python examples/long_import.py             # goes on
    python examples/long_import.py 2026-11-28  # another day is another run

It asks for page after page, until there are no more, then checks what it has written. What is done is recorded in
`build/long_import/runs.db`, so a page is not asked for twice: only the one that was being imported when the process
died. Writing a page replaces it, so writing that one again does no harm.
"""

import asyncio
import os
import sys
from pathlib import Path

import cascade as cs

FOLDER = Path("build/long_import")
PAGES = 40


async def ask(day: str, page: int) -> list[str]:
    """Stand in for a slow API."""
    await asyncio.sleep(0.1)
    return [f"{day},{page},{row}" for row in range(page % 7 + 1)] if page < PAGES else []


@cs.task
async def import_page(day: str, folder: Path, page: int = 0, rows: int = 0) -> int | cs.Jump:
    found = await ask(day, page)
    if not found:
        return rows
    print("page", page, flush=True)
    new = folder / f"{page:03}.new"
    new.write_text("\n".join(found) + "\n")
    new.replace(folder / f"{page:03}.csv")
    return cs.Jump("next", {"page": page + 1, "rows": rows + len(found)})


@cs.task
def files(folder: Path, rows: int) -> list[Path]:
    return sorted(folder.glob("*.csv"))


@cs.task
def count(file: Path) -> int:
    return len(file.read_text().splitlines())


@cs.task
def report(rows: int, counts: list[int]) -> str:
    assert sum(counts) == rows
    return f"{rows} rows on {len(counts)} pages"


def flow(day: str, folder: Path = FOLDER) -> cs.LazyResult[str]:
    pages = import_page(day, folder)
    cs.bind(pages, cs.select_jump({"next": pages}))
    return report(pages, count.map(file=files(folder, pages)))


if __name__ == "__main__":
    day = sys.argv[1] if len(sys.argv) > 1 else "2026-11-27"
    folder = FOLDER / day
    folder.mkdir(parents=True, exist_ok=True)
    print("process", os.getpid(), flush=True)
    print(cs.run(flow(day, folder), state_backend=FOLDER / "runs.db", run_id=f"import-{day}"))
