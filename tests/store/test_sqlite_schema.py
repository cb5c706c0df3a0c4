"""The constant statements of store/sqlite_schema.py: each question is answered from an index, in its order."""

from __future__ import annotations

import sqlite3

import pytest

from store import sqlite_schema as sql


@pytest.mark.parametrize("table", ["LIST", "SCAN", "SCAN_KEY"])
@pytest.mark.parametrize("slot", [sql.NO_SLOT, 0, sql.SLOTS - 1])
@pytest.mark.parametrize("descending", [False, True])
def test_questions_are_searched_and_never_sorted(table: str, slot: int, descending: bool) -> None:
    """SQLite's plan is one search of one index, without a temporary tree for the order."""
    connection = sqlite3.connect(":memory:")
    for statement in sql.TABLES:
        connection.execute(statement)
    statement = getattr(sql, table)[slot][descending]
    parameters = (1,) * statement.count("?")
    plan = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    connection.close()
    assert len(plan) == 1
    assert plan[0].startswith("SEARCH")
    assert "id" in plan[0]
    assert ("DESC" in statement) is descending
    if slot != sql.NO_SLOT:
        assert f"i{slot}=?" in plan[0]
