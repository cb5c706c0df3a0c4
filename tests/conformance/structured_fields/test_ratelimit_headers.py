"""What we write parses as the structured fields (RFC 9651) that the RateLimit draft asks for.

The examples are those of draft-ietf-httpapi-ratelimit-headers (0669b82, 2025-09).
"""

from __future__ import annotations

import http_sf
import pytest
from http_sf.types import Token
from hypothesis import given
from hypothesis import strategies as st

from models.limits import MAX_QUOTA, decide, request_limits
from models.ratelimit_fields import policy_field, status_field, status_template

DRAFT_POLICY = b'"burst";q=100;w=60,"daily";q=1000;w=86400'
DRAFT_STATUS = b'"burst";r=50;t=30'
SF_INTEGER_MAX = 999_999_999_999_999  # RFC 9651 section 3.3.1

maxima = st.none() | st.integers(0, MAX_QUOTA)


def members(field: bytes) -> list[tuple[str, dict[str, int]]]:
    """The field's list members, with the draft's types checked: a String each, Integer parameters."""
    parsed = http_sf.parse(field, tltype="list")
    for name, parameters in parsed:
        assert type(name) is str
        assert not isinstance(name, Token)
        assert all(type(value) is int and 0 <= value <= SF_INTEGER_MAX for value in parameters.values())
    return [(name, dict(parameters)) for name, parameters in parsed]


def test_the_examples_of_the_draft_have_the_shape_that_is_checked_here():
    """The check itself accepts the draft's own examples."""
    assert members(DRAFT_POLICY) == [("burst", {"q": 100, "w": 60}), ("daily", {"q": 1000, "w": 86_400})]
    assert members(DRAFT_STATUS) == [("burst", {"r": 50, "t": 30})]


def test_our_fields_are_the_examples_under_our_names():
    """With the draft's numbers we write its examples, but for names and the serialiser's blank."""
    limits = request_limits("prx_a", 100, 1000)
    renamed = DRAFT_POLICY.replace(b"burst", b"minute").replace(b"daily", b"day")
    assert members(policy_field(limits)) == members(renamed)
    minute = status_field(status_template(limits[:1]), (50, 30))
    assert minute == DRAFT_STATUS.replace(b"burst", b"minute")


@given(maxima, maxima, st.integers(0, 4_102_444_800_000), st.integers(0, 3))
def test_any_fields_we_write_parse_to_what_was_meant(per_minute, per_day, now_ms, calls):
    """Both fields are canonical lists with the same names in the same order, for any limits and time."""
    limits = request_limits("prx_a", per_minute, per_day)
    if not limits:
        return
    terms = tuple((place, limit.window_seconds * 1000, limit.max) for place, limit in enumerate(limits))
    counters, quota = [0] * len(limits), ()
    for _ in range(calls + 1):
        stored, quota, _ = decide(terms, counters, now_ms)
        for place, counter in stored:
            counters[place] = counter
    policy, status = policy_field(limits), status_field(status_template(limits), quota)
    for field in (policy, status):
        assert http_sf.ser(http_sf.parse(field, tltype="list")).encode() == field
    assert members(policy) == [(limit.name, {"q": limit.max, "w": limit.window_seconds}) for limit in limits]
    shown = members(status)
    assert [name for name, _ in shown] == [limit.name for limit in limits]
    for limit, (_, parameters) in zip(limits, shown, strict=True):
        assert list(parameters) == ["r", "t"]
        assert parameters["r"] <= limit.max
        assert 1 <= parameters["t"] <= limit.window_seconds


def test_the_check_refuses_what_is_not_a_structured_field():
    """A name without quotes is a Token, and a trailing comma is no list: the check would notice."""
    with pytest.raises(AssertionError):
        members(b"burst;r=50;t=30")
    with pytest.raises(http_sf.StructuredFieldError):
        members(b'"burst";r=50;t=30,')
