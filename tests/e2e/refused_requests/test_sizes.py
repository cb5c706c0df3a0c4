"""Requests that are too large or too slow are refused; what is just small enough passes."""

from __future__ import annotations

import pytest

from tests.e2e.refused_requests.refusals import CHUNKED, GET, HOST, KEY, Bench, assert_refused, mark, problem
from tests.kit.raw import get

LARGE = {
    "a request line over 8 KiB": f"GET /api/api/@/{'x' * 8192} HTTP/1.1\r\n" + HOST + KEY + "\r\n",
    "a request line without end": "GET /api/api/@/" + "x" * 8192,
    "a head over 64 KiB": GET + HOST + KEY + f"A: {'b' * 65536}\r\n\r\n",
    "a head over 64 KiB of blanks": GET + HOST + KEY + f"A: {' ' * 65536}b\r\n\r\n",
    "a head over 64 KiB without end": GET + HOST + KEY + "A: b\r\n" * 99 + "C: " + "b" * 65536,
    "more than 100 fields": GET + HOST + KEY + "A: b\r\n" * 99 + "\r\n",
    "chunk extensions over 16 KiB": CHUNKED + "3;" + "e" * 16384 + "\r\nabc\r\n0\r\n\r\n",
    "trailers over 16 KiB": CHUNKED + "3\r\nabc\r\n0\r\nA: " + "b" * 16384 + "\r\n\r\n",
}


@pytest.mark.parametrize("name", LARGE)
def test_too_large_a_head_is_431(bench: Bench, name: str) -> None:
    """Refused and closed at the limit, without waiting for an end."""
    word = mark()
    assert_refused(bench, LARGE[name].replace("@", word).encode(), word, 431, "request-head-too-large")


@pytest.mark.parametrize(
    "data",
    [
        f"GET /api/api/@/{'x' * 8000} HTTP/1.1\r\n" + HOST + KEY + "\r\n",
        GET + HOST + KEY + f"A: {'b' * 60000}\r\n\r\n",
        GET + HOST + KEY + "A: b\r\n" * 98 + "\r\n",
        CHUNKED + "3;" + "e" * 8000 + "\r\nabc\r\n0\r\nA: " + "b" * 8000 + "\r\n\r\n",
    ],
    ids=["request line", "head", "fields", "extensions and trailers"],
)
def test_what_is_just_small_enough_passes(bench: Bench, data: str) -> None:
    """The limits are those of API.md section 3, not smaller."""
    word = mark()
    with bench.client() as client:
        client.send(data.replace("@", word).encode())
        assert client.answer().status == 200
    assert [seen.complete for seen in bench.seen(word)] == [True]


def test_a_head_that_never_ends_is_408(bench: Bench) -> None:
    """Also the second one on a connection; the first is answered."""
    word = mark()
    with bench.client() as client:
        client.send(get(f"/api/api/{word}") + b"GET /api/api/late HTTP/1.1\r\nHost: e")
        assert client.answer().status == 200
        answer = client.answer()
        assert (answer.status, problem(answer)) == (408, "request-timeout")
        assert client.closed()
    assert bench.seen("late") == []
