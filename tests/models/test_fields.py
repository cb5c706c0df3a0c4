"""The tables of special field names: complete, in lower case, and one contained in the other where it must be."""

from __future__ import annotations

import pytest

from models import fields

TABLES = {
    name: table for name, table in vars(fields).items() if isinstance(table, frozenset) and name.isupper()
}


def test_names_are_lower_case_bytes() -> None:
    """They are compared with names that the parser made lower case."""
    assert TABLES
    for table in TABLES.values():
        assert all(name == name.lower().strip() and name for name in table)


def test_hop_by_hop_fields_pass_in_neither_direction() -> None:
    """RFC 9110 section 7.6.1; HTTP2-Settings and Upgrade would switch the protocol behind our back."""
    assert {
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    } < (fields.REQUEST_DROPPED & fields.RESPONSE_DROPPED)


def test_framing_is_ours_in_both_directions() -> None:
    """A length or coding of the other side is never copied."""
    assert fields.FRAMING <= fields.REQUEST_DROPPED
    assert {b"content-length", b"transfer-encoding"} <= fields.RESPONSE_DROPPED


def test_callers_credentials_stay_with_us() -> None:
    """DESIGN section 4, step 8."""
    assert {b"authorization", b"proxy-authorization", b"x-api-key", b"forwarded"} <= fields.REQUEST_DROPPED
    assert b"cookie" not in fields.REQUEST_DROPPED  # that is for the target to say


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (b"", set()),
        (b"close", {b"close"}),
        (b"Keep-Alive, X-Secret", {b"keep-alive", b"x-secret"}),
        (b" ,a ,, B\t,", {b"a", b"b"}),
    ],
)
def test_connection_nominates_fields(value: bytes, tokens: set[bytes]) -> None:
    """Names in lower case, empty members skipped."""
    assert fields.connection_tokens(value) == tokens
