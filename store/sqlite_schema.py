"""Tables, indexes and every statement of the embedded store, all of them constants.

Ids, keys and indexed strings are stored as UTF-8 in BLOB columns, so that SQLite compares bytes and a NUL
ends nothing. No statement is ever built from input: an indexed field has a numbered column, its slot.
"""

from __future__ import annotations

from typing import Final

SLOTS: Final = 8
"""Indexed fields that one collection or stream may have."""

APPLICATION_ID: Final = 0x45584541
"""`EXEA`, so that another program's database is not taken for ours."""
FORMAT: Final = 1
"""Of these tables; the documents' own schemas are in `sorts`."""

_COLUMNS: Final = ", ".join(f"i{slot}" for slot in range(SLOTS))
_VALUES: Final = ", ".join("?" * SLOTS)
_SETS: Final = ", ".join(f"i{slot} = ?" for slot in range(SLOTS))

# In `sorts`, settled and fields are the schema and the indexed fields (msgpack) that every document has reached.
_SORTS: Final = (
    "CREATE TABLE IF NOT EXISTS sorts (sort INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, "
    "schema INTEGER NOT NULL, settled INTEGER NOT NULL, fields BLOB NOT NULL, UNIQUE (kind, name))"
)
# The columns of slots have no type, so that 1 and "1" stay different.
_DOCUMENTS: Final = (
    "CREATE TABLE IF NOT EXISTS documents (sort INTEGER NOT NULL, id BLOB NOT NULL, version INTEGER NOT NULL, "
    f"schema INTEGER NOT NULL, body BLOB NOT NULL, {_COLUMNS}, PRIMARY KEY (sort, id))"
)
_ENTRIES: Final = (
    "CREATE TABLE IF NOT EXISTS entries (sort INTEGER NOT NULL, id BLOB NOT NULL, key BLOB NOT NULL, "
    f"at_ms INTEGER NOT NULL, schema INTEGER NOT NULL, body BLOB NOT NULL, {_COLUMNS}, PRIMARY KEY (sort, id))"
)
_BY_SLOT: Final = (
    "CREATE INDEX IF NOT EXISTS documents_SLOT ON documents (sort, SLOT, id) WHERE SLOT IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS entries_SLOT ON entries (sort, SLOT, at_ms, id) WHERE SLOT IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS entries_key_SLOT ON entries (sort, key, SLOT, at_ms, id) WHERE SLOT IS NOT NULL",
)
TABLES: Final = (
    _SORTS,
    _DOCUMENTS,
    _ENTRIES,
    "CREATE INDEX IF NOT EXISTS entries_time ON entries (sort, at_ms, id)",
    "CREATE INDEX IF NOT EXISTS entries_key ON entries (sort, key, at_ms, id)",
    *(statement.replace("SLOT", f"i{slot}") for slot in range(SLOTS) for statement in _BY_SLOT),
)

SORTS: Final = "SELECT sort, kind, name, schema, settled, fields FROM sorts"
ADD_SORT: Final = "INSERT INTO sorts (kind, name, schema, settled, fields) VALUES (?, ?, ?, ?, ?)"
CLAIM_SORT: Final = "UPDATE sorts SET schema = ? WHERE sort = ?"
SETTLE_SORT: Final = "UPDATE sorts SET settled = ?, fields = ? WHERE sort = ?"

GET: Final = "SELECT version, schema, body FROM documents WHERE sort = ? AND id = ?"
VERSION: Final = "SELECT version FROM documents WHERE sort = ? AND id = ?"
DELETE: Final = "DELETE FROM documents WHERE sort = ? AND id = ?"
INSERT: Final = (
    f"INSERT INTO documents (version, schema, body, {_COLUMNS}, sort, id) VALUES (?, ?, ?, {_VALUES}, ?, ?)"  # noqa: S608 - constants
)
UPDATE: Final = f"UPDATE documents SET version = ?, schema = ?, body = ?, {_SETS} WHERE sort = ? AND id = ?"  # noqa: S608 - constants
APPEND: Final = (
    f"INSERT INTO entries (sort, id, key, at_ms, schema, body, {_COLUMNS}) "  # noqa: S608 - constants
    f"VALUES (?, ?, ?, ?, ?, ?, {_VALUES}) ON CONFLICT (sort, id) DO NOTHING"
)
FETCH: Final = "SELECT id, key, at_ms, schema, body FROM entries WHERE sort = ? AND id = ?"
TRIM: Final = (
    "DELETE FROM entries WHERE sort = ?1 AND id IN "
    "(SELECT id FROM entries WHERE sort = ?1 AND at_ms < ?2 ORDER BY at_ms, id LIMIT ?3)"
)

# Upkeep goes through a sort by id; both statements of a kind take and give the same columns.
SOME: Final = {
    "collection": "SELECT id, schema, body FROM documents WHERE sort = ? AND id >= ? ORDER BY id LIMIT ?",
    "stream": "SELECT id, schema, body FROM entries WHERE sort = ? AND id >= ? ORDER BY id LIMIT ?",
}
REWRITE: Final = {
    "collection": f"UPDATE documents SET version = version + ?, schema = ?, body = ?, {_SETS} "  # noqa: S608 - constants
    "WHERE sort = ? AND id = ?",
    # An entry has no version; the first parameter is taken and has no effect.
    "stream": f"UPDATE entries SET at_ms = at_ms + 0 * ?, schema = ?, body = ?, {_SETS} "  # noqa: S608 - constants
    "WHERE sort = ? AND id = ?",
}

NO_SLOT: Final = -1


def _with_slots(plain: str, by_slot: str) -> dict[int, tuple[str, str]]:
    """(ascending, descending) per slot; the two templates are constants of this module."""
    texts = {NO_SLOT: plain, **{slot: by_slot.replace("SLOT", f"i{slot}") for slot in range(SLOTS)}}
    return {slot: (text, text.replace(" ASC", " DESC")) for slot, text in texts.items()}


LIST: Final = _with_slots(
    "SELECT id, version, schema, body FROM documents "
    "WHERE sort = ? AND id >= ? AND id < ? ORDER BY id ASC LIMIT ?",
    "SELECT id, version, schema, body FROM documents INDEXED BY documents_SLOT "
    "WHERE sort = ? AND SLOT = ? AND id >= ? AND id < ? ORDER BY id ASC LIMIT ?",
)
SCAN: Final = _with_slots(
    "SELECT id, key, at_ms, schema, body FROM entries INDEXED BY entries_time "
    "WHERE sort = ? AND (at_ms, id) >= (?, ?) AND (at_ms, id) < (?, ?) ORDER BY at_ms ASC, id ASC LIMIT ?",
    "SELECT id, key, at_ms, schema, body FROM entries INDEXED BY entries_SLOT WHERE sort = ? AND SLOT = ? "
    "AND (at_ms, id) >= (?, ?) AND (at_ms, id) < (?, ?) ORDER BY at_ms ASC, id ASC LIMIT ?",
)
SCAN_KEY: Final = _with_slots(
    "SELECT id, key, at_ms, schema, body FROM entries INDEXED BY entries_key WHERE sort = ? AND key = ? "
    "AND (at_ms, id) >= (?, ?) AND (at_ms, id) < (?, ?) ORDER BY at_ms ASC, id ASC LIMIT ?",
    "SELECT id, key, at_ms, schema, body FROM entries INDEXED BY entries_key_SLOT "
    "WHERE sort = ? AND key = ? AND SLOT = ? "
    "AND (at_ms, id) >= (?, ?) AND (at_ms, id) < (?, ?) ORDER BY at_ms ASC, id ASC LIMIT ?",
)
