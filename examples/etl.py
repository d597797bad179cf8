"""An ETL: the sales of a week from an HTTP API, cleaned, into SQLite.

    pip install 'cascade-py[http]'
    python examples/etl.py                # asks a stand-in for the API, see stand_ins.py
    python examples/etl.py http://...     # asks another one

Each day is a request of its own. The API is busy now and then, so requests are tried again. A day that is over does
not change, so it is cached on disk: run it twice, and the second run asks for nothing. Loading a day replaces it, so
running it again does no harm.
"""

import contextlib
import csv
import io
import sqlite3
import sys
from datetime import date, timedelta
from pathlib import Path

import stand_ins

import cascade as cs

WEEK = [date(2026, 3, 2) + timedelta(days=number) for number in range(7)]
FOLDER = Path("build/etl")


def is_passing(error: Exception) -> bool:
    """Whether to ask again: the line broke, or the API is busy."""
    if isinstance(error, cs.http.HttpStatusError):
        return error.response.status in (429, 503)
    return isinstance(error, OSError)


@cs.task
def transform(day: cs.http.HttpResponse) -> list[tuple[str, str, float]]:
    rows = csv.DictReader(io.StringIO(day.text()))
    return [(row["day"], row["shop"].strip().title(), float(row["amount"])) for row in rows if row["amount"]]


@cs.task
def load(days: list[list[tuple[str, str, float]]], path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("create table if not exists sales (day text, shop text, amount real)")
        for rows in days:
            database.executemany("delete from sales where day = ?", {(row[0],) for row in rows})
            database.executemany("insert into sales values (?, ?, ?)", rows)
    return sum(map(len, days))


@cs.task
def report(rows: int, path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as database:
        shops = database.execute("select shop, sum(amount) from sales group by shop order by shop").fetchall()
    return "\n".join([f"{rows} rows", *(f"{shop:<8}{amount:10.2f}" for shop, amount in shops)])


def flow(api: str = "http://localhost:8000", days: list[date] = WEEK, folder: Path = FOLDER) -> cs.LazyResult[str]:
    extracted = cs.http.get.partial(check=True).map(url=[f"{api}/sales/{day}.csv" for day in days], concurrency=4)
    extracted.with_retry(max_attempts=4, delay=0.1, backoff=2.0, on=is_passing)
    extracted.with_cache(cs.cached(folder / "days", key=lambda url, **others: url.rpartition("/")[2]))
    path = folder / "sales.db"
    return report(load(transform.map(day=extracted), path), path)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True, mode=0o755)
    with contextlib.ExitStack() as stack:
        api = sys.argv[1] if len(sys.argv) > 1 else stack.enter_context(stand_ins.sales())
        print(cs.run(flow(api)))


if __name__ == "__main__":
    main()
