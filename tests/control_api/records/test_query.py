"""Finding records: any combination of what may be asked, page by page, is the same as looking at all of them."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_api.records import query
from control_api.records.intake import Intake
from control_api.records.layout import RECORDS_LAYOUT
from control_api.records.lines import Line, read_line
from control_api.records.query import Wanted, find, get
from models.record import Record
from store.interface import Store
from store.sqlite import SqliteStore
from tests.kit.recorded import AT, US, batch, owned, record
from tests.kit.stores import opened

CODES = (
    (200, "proxy-access-granted"),
    (403, "proxy-access-granted"),
    (403, "rule-denied"),
    (429, "limit-exceeded"),
    ("unknown", None),
)
CLIENTS, PROXIES, CREDENTIALS = ("cli_a", "cli_b"), ("prx_a", "prx_b"), ("cred_a", "cred_b", None)
RECORDED = st.tuples(
    st.sampled_from(CLIENTS),
    st.sampled_from(PROXIES),
    st.sampled_from(CREDENTIALS),
    st.sampled_from(CODES),
    st.integers(0, 5),
)
QUESTIONS = st.fixed_dictionaries(
    {"client_id": st.sampled_from(CLIENTS), "limit": st.integers(1, 5)},
    optional={
        "proxy_id": st.sampled_from(PROXIES),
        "credential_id": st.sampled_from(CREDENTIALS[:2]),
        "status": st.sampled_from([200, 403, 429, "unknown", 418]),
        "code": st.sampled_from([code for _, code in CODES if code]),
        "from_ms": st.integers(AT, AT + 5),
        "until_ms": st.integers(AT, AT + 6),
    },
)


def fits(one: Record, line: Line, wanted: Wanted) -> bool:
    """Whether a record is asked for, by its own fields."""
    return (
        one.client_id == wanted.client_id
        and wanted.proxy_id in {None, one.proxy_id}
        and wanted.credential_id in {None, one.credential_id}
        and wanted.status in {None, one.status}
        and wanted.code in {None, one.code}
        and (wanted.from_ms is None or line.received_ms >= wanted.from_ms)
        and (wanted.until_ms is None or line.received_ms < wanted.until_ms)
    )


async def all_of(store: Store, wanted: Wanted, limit: int) -> tuple[list[bytes], int]:
    """A whole list and how many pages it took."""
    found: list[bytes] = []
    cursor, pages = None, 0
    while True:
        page = await find(store, wanted, cursor=cursor, limit=limit)
        assert len(page.lines) <= limit
        found += page.lines
        cursor, pages = page.cursor, pages + 1
        if cursor is None:
            return found, pages


@settings(max_examples=30, deadline=None)
@given(
    made=st.lists(RECORDED, max_size=40),
    questions=st.lists(QUESTIONS, min_size=1, max_size=8),
    read=st.sampled_from([(2, 3), (3, 9), (50, 100)]),
)
def test_any_question_is_answered_as_from_a_list(
    made: list[Any], questions: list[dict[str, Any]], read: tuple[int, int]
) -> None:
    """All filters in any combination, pages of any size and however little one request may look at."""
    records = [
        record(f"req_{n:03d}", AT + at, client_id=client, proxy_id=proxy, credential_id=who, status=s, code=c)
        for n, (client, proxy, who, (s, c), at) in enumerate(made)
    ]
    lines = [read_line(msgspec.json.encode(one), US) for one in records]

    async def example(place: Path) -> None:
        async with opened(SqliteStore(place, RECORDS_LAYOUT)) as store:
            await Intake(store, owned()).take(US, [batch(1, records)])
            for question in questions:
                limit = question.pop("limit")
                wanted = Wanted(**question)
                chosen = [
                    (line, one) for line, one in zip(lines, records, strict=True) if fits(one, line, wanted)
                ]
                chosen.sort(key=lambda both: (both[0].received_ms, both[0].request_id), reverse=True)
                found, _ = await all_of(store, wanted, limit)
                assert found == [line.text for line, _ in chosen]

    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(query, "READ_AT_ONCE", read[0])
        patch.setattr(query, "MOST_READ", read[1])
        patch.setattr(query, "PROBED", read[0])
        asyncio.run(example(Path(directory) / "records.db"))


async def filled(store: Store, count: int) -> None:
    """So many records: every other one was denied, and there are 60 credentials in turn."""
    intake = Intake(store, owned())
    for number, start in enumerate(range(0, count, 800), 1):
        await intake.take(US, [batch(number, [some(n) for n in range(start, start + 800)])])


def some(n: int) -> Record:
    """The n-th of them."""
    status, code = CODES[2] if n % 2 else CODES[0]
    credential = f"cred_{n % 60}"
    return record(
        f"req_{n:06d}", AT + n, client_id="cli_a", credential_id=credential, status=status, code=code
    )


async def test_one_request_looks_at_a_bounded_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A combination that never holds ends its pages empty and says where to go on, until the end."""
    monkeypatch.setattr(query, "MOST_READ", 500)
    monkeypatch.setattr(query, "READ_AT_ONCE", 100)
    await filled(store, 2_400)
    never = Wanted(client_id="cli_a", status=200, code="rule-denied")
    assert await all_of(store, never, 10) == ([], 3)
    few = Wanted(client_id="cli_a", status=200, code="proxy-access-granted", credential_id="cred_2")
    found, pages = await all_of(store, few, 100)
    assert (len(found), pages) == (40, 1)  # through the index of the credential
    none = Wanted(client_id="cli_a", status=200, code="proxy-access-granted", credential_id="cred_none")
    assert await all_of(store, none, 10) == ([], 1)


async def test_records_that_come_meanwhile_double_nothing(store: Store) -> None:
    """A page that begins inside what was read goes on after what was given."""
    await filled(store, 800)
    wanted = Wanted(client_id="cli_a", status=200, code="proxy-access-granted")
    first = await find(store, wanted, cursor=None, limit=5)
    late = [record("req_late", AT + 790, client_id="cli_a"), record("req_old", AT - 1, client_id="cli_a")]
    await Intake(store, owned()).take(US, [batch(1, late, "late")])
    rest = await find(store, wanted, cursor=first.cursor, limit=1000)
    ids = [read_line(line, US).request_id for line in (*first.lines, *rest.lines)]
    assert len(set(ids)) == len(ids) == 400 + 1


async def test_a_cursor_fits_its_question_only(store: Store) -> None:
    """One that was made up, or of another question, is a ValueError."""
    await filled(store, 800)
    both = Wanted(client_id="cli_a", status=200, code="proxy-access-granted")
    one = Wanted(client_id="cli_a", status=200)
    of_both = (await find(store, both, cursor=None, limit=5)).cursor
    of_one = (await find(store, one, cursor=None, limit=5)).cursor
    assert of_both
    assert of_one
    other = msgspec.structs.replace(both, until_ms=AT + 5)
    for wanted, cursor in (
        (both, of_one),
        (one, of_both),
        (other, of_both),
        (both, "x"),
        (one, "é"),
        (both, ""),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - every one
            await find(store, wanted, cursor=cursor, limit=5)


async def test_one_record_is_found_by_its_id(store: Store) -> None:
    """By whoever owns it, in whichever region it was made."""
    made = record("req_1", client_id="cli_a", proxy_id="prx_a")
    await Intake(store, owned()).take(US, [batch(1, [made])])
    regions = ("eu-west-1", US)
    text = read_line(msgspec.json.encode(made), US).text
    assert await get(store, regions, "cli_a", None, "req_1") == text
    assert await get(store, regions, "cli_a", "prx_a", "req_1") == text
    assert await get(store, regions, "cli_a", "prx_b", "req_1") is None
    assert await get(store, regions, "cli_b", None, "req_1") is None
    assert await get(store, regions, "cli_a", None, "req_2") is None
    assert await get(store, regions[:1], "cli_a", None, "req_1") is None
