"""What regions said, merged from several processes: the newest of each field, acknowledgements never back."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from control_api.layout import LAYOUT, MIGRATIONS
from control_api.ledger.bell import Bell
from control_api.ledger.regions import NEVER, RegionBook, RegionRecord, merged
from models.custody.signing import Signed
from store.sqlite import SqliteStore

records = st.builds(
    lambda acknowledged, seen, issued, reported: RegionRecord(
        acknowledged=acknowledged,
        seen_ms=seen,
        certificate=Signed(bytes([issued]), b"") if issued else None,
        certificate_ms=issued,
        failing={"cred": str(reported)} if reported else {},
        failing_ms=reported,
    ),
    st.integers(NEVER, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
)


@given(records, records, records)
def test_merging_is_the_same_in_any_order(
    one: RegionRecord, other: RegionRecord, third: RegionRecord
) -> None:
    """So it does not matter which process hears or stores what first, or twice."""
    assert merged(one, other) == merged(other, one)
    assert merged(merged(one, other), third) == merged(one, merged(other, third))
    assert merged(one, one) == one


async def test_processes_share_one_record(tmp_path: Path) -> None:
    """Each keeps what the other stored."""
    store = SqliteStore(tmp_path / "control.db", LAYOUT, migrations=MIGRATIONS)
    await store.open()
    one, other = RegionBook(store, Bell()), RegionBook(store, Bell())
    await one.load()
    await other.load()
    one.acknowledge("us", 5)
    other.acknowledge("us", 3)
    other.report_failing("us", {"cred": "why"}, 7)
    await one.flush()
    await other.flush()
    assert other.get("us").acknowledged == 5
    fresh = RegionBook(store, Bell())
    await fresh.load()
    assert fresh.get("us").acknowledged == 5
    assert fresh.get("us").failing == {"cred": "why"}
    assert not fresh.is_due
    await store.close()


async def test_a_recent_poll_alone_is_not_written(tmp_path: Path) -> None:
    """An idle region does not cost a write a poll; an older one does."""
    store = SqliteStore(tmp_path / "control.db", LAYOUT, migrations=MIGRATIONS)
    await store.open()
    book = RegionBook(store, Bell())
    book.seen("us", 100_000)
    await book.flush()
    book.seen("us", 104_999)
    assert not book.is_due
    book.seen("us", 105_000)
    assert book.is_due
    await store.close()
