"""The answer reader: any split of any number of answers is counted alike, a wrong one is never."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.bench.errors import LoadError
from scripts.bench.load.answers import AnswerReader

FRAMED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
DENIED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello"
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhe"


@given(st.lists(st.sampled_from([FRAMED, CHUNKED]), min_size=1, max_size=6), st.data())
def test_any_split_counts_the_same(answers: list[bytes], data: st.DataObject):
    """Length-delimited and chunked answers, cut anywhere."""
    stream = b"".join(answers)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)) | {0, len(stream)})
    reader = AnswerReader(5)
    for start, end in itertools.pairwise(cuts):
        reader.feed(stream[start:end])
    assert reader.complete == len(answers)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (FRAMED + DENIED, "answer 2 had status 403"),
        (SHORT, "answer 1 had 2 bytes"),
        (DENIED + FRAMED, "answer 1 had status 403"),
        (b"SSH-2.0-x\r\n", "an answer was no HTTP"),
    ],
)
def test_a_wrong_answer_ends_the_measurement(stream: bytes, reason: str):
    """Another status, another length, no HTTP: the figure would not be what it says."""
    with pytest.raises(LoadError) as failed:
        AnswerReader(5).feed(stream)
    assert failed.value.detail == reason


def test_an_unfinished_answer_does_not_count():
    """Counted is what has ended."""
    reader = AnswerReader(5)
    reader.feed(FRAMED[:-1])
    assert reader.complete == 0
