"""Servers of one PostgreSQL that are killed at random under load, while the database is started anew: in short."""

from __future__ import annotations

import os

import pytest

from tests.command.killed_servers import hunt
from tests.providers.postgres import program

pytest.importorskip("typer")
pytest.importorskip("psycopg")


@pytest.mark.timeout(240)
def test_each_run_is_done_and_none_is_forgotten() -> None:
    if program("initdb") is None and os.environ.get("CASCADE_REQUIRE_ALL") != "1":
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    found = hunt(4.0, 3)
    assert found.runs > 0
