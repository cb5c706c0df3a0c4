"""Questions and answers about texts on the wire: back as they were, and an answer without the text."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from models.planes.texts import MOST_BYTES, MOST_TEXTS, Find, Found, Span


@given(st.lists(st.text(), max_size=5))
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    """Whatever characters are in them."""
    find = Find(tuple(texts))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(find), type=Find) == find


def test_spans_are_four_values() -> None:
    """As an array, so that a batch's answer is small."""
    found = Found(((Span(0, 3, "PERSON", 0.5),), ()))
    encoded = msgspec.msgpack.encode(found)
    assert msgspec.msgpack.decode(encoded) == {"spans": [[[0, 3, "PERSON", 0.5]], []]}
    assert msgspec.msgpack.decode(encoded, type=Found) == found


def test_one_call_stays_out_of_the_object_store() -> None:
    """Which begins at 100 KiB; the most texts with their lengths included."""
    longest = MOST_BYTES // MOST_TEXTS
    assert len(msgspec.msgpack.encode(Find(("a" * longest,) * MOST_TEXTS))) < 100 * 1024
