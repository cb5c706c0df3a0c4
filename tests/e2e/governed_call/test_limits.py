"""What the limits leave of calls, and what every answer tells of it."""

from __future__ import annotations

import json
import time

import pytest

from tests.e2e.governed_call.governed_edge import ask, limits
from tests.kit.edge import CALLER_KEY, EdgeProcess, until
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Upstream


def test_call_after_the_last_of_a_minute(edge: EdgeProcess, upstream: Upstream) -> None:
    """Three calls of three pass, the fourth is 429 with Retry-After; denied, unauthenticated and limited ones count nothing."""
    until(lambda: time.time() % 60 < 55, 10, "a minute with five seconds left")
    before = len(upstream.seen)
    left = []
    with RawClient(edge.port) as client:

        def call(path: str, key: str | None = CALLER_KEY) -> RawAnswer:
            client.send(get("/api/limited" + path, key=key))
            return client.answer()

        for remaining in (2, 1, 0):
            assert call("/denied").status == 403
            assert call("/x", None).status == 401
            reply = call("/x")
            assert reply.status == 200
            left.append(limits(reply)["minute"])
            assert left[-1][0] == remaining
        for _ in range(3):
            over = call("/x")
            assert (over.status, over.get("exeat-proxy-code")) == (429, "limit-exceeded")
            remaining, seconds = limits(over)["minute"]
            assert remaining == 0
            assert over.get("retry-after") == str(seconds)
            assert 1 <= seconds <= 60
            assert abs(seconds - (60 - time.time() % 60)) <= 2
            assert over.get("ratelimit-policy") == '"minute";q=3;w=60'
        denied = call("/denied")
        assert (denied.status, limits(denied)["minute"][0]) == (403, 0)
    assert len(upstream.seen) == before + 3
    problem = json.loads(over.body)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"


def test_two_windows_are_both_told(edge: EdgeProcess, upstream: Upstream) -> None:
    """Minute and day limit stand side by side; the exhausted one decides, and Retry-After is its reset."""
    until(lambda: time.time() % 60 < 55, 10, "a minute with five seconds left")
    first, second, third = (ask(edge, get("/api/both-limits/x")) for _ in range(3))
    assert first.get("ratelimit-policy") == '"minute";q=50;w=60, "day";q=2;w=86400'
    assert [limits(reply)["day"][0] for reply in (first, second, third)] == [1, 0, 0]
    assert [limits(reply)["minute"][0] for reply in (first, second, third)] == [49, 48, 48]
    assert (third.status, third.get("retry-after")) == (429, str(limits(third)["day"][1]))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/api/dead/x"), 502),
        (get("/api/inactive/x"), 403),
        (get("/api/limited/denied"), 403),
        (get("/api/recorded/x"), 200),
    ],
)
def test_limit_fields_on_every_answer(edge: EdgeProcess, data: bytes, status: int) -> None:
    """Granted, denied, inactive or failed: where a limit applies, every answer to its caller says how it stands."""
    reply = ask(edge, data)
    assert reply.status == status
    assert limits(reply)
    assert len([value for name, value in reply.headers if name == "ratelimit"]) == 1


def test_no_limit_no_fields(edge: EdgeProcess) -> None:
    """Where none applies nothing is said, and what the target says of its own limits passes."""
    assert ask(edge, get("/api/api/x")).get("ratelimit-policy") is None
    assert ask(edge, get("/api/api/spoof")).get("ratelimit") == '"forged";r=9;t=9'
