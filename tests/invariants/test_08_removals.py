"""Invariant 8: what is removed between judging and sending is the documented table, field by field.

The removals are listed here again, from DESIGN section 4, step 8, and not taken from the code.
"""

from __future__ import annotations

import pytest

from tests.invariants.judged import KINDS, REMOVED, Desk, Kind, Sent, head
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN


@pytest.mark.parametrize("kind", KINDS, ids=[kind.alias for kind in KINDS])
@pytest.mark.parametrize(
    "name", sorted(REMOVED - {"host", "content-length", "transfer-encoding", "connection", "expect"})
)
def test_documented_removals_are_removed(desk: Desk, kind: Kind, name: str) -> None:
    """Each name of the table, in any case, is gone; only the injected credential may stand there."""
    line = f"{name.title()}: {CALLER_KEY if name in {'authorization', 'x-api-key'} else 'canary'}\r\n"
    sent = desk.put(head(kind, line))
    assert isinstance(sent, Sent)
    assert [value for key, value in sent.fields if key == name] == (
        [kind.value] if name == kind.header else []
    )


@pytest.mark.parametrize("nominated", ["X-Mine", "x-mine", "close, X-MINE", "X-Mine,X-Mine", ",, x-mine ,"])
def test_fields_named_in_connection_are_removed(desk: Desk, nominated: str) -> None:
    """Also when `Connection` comes twice, before or behind the field."""
    for lines in (
        f"Connection: {nominated}\r\nX-Mine: 1\r\nX-Yours: 2\r\n",
        f"X-Mine: 1\r\nX-Yours: 2\r\nConnection: {nominated}\r\n",
        f"Connection: keep-alive\r\nX-Mine: 1\r\nX-Yours: 2\r\nConnection: {nominated}\r\n",
    ):
        sent = desk.put(head(KINDS[0], lines))
        assert isinstance(sent, Sent)
        names = [name for name, _ in sent.fields]
        assert "x-mine" not in names
        assert "x-yours" in names


def test_cookies_pass_only_where_the_target_takes_them(desk: Desk) -> None:
    """`targetCookies` decides."""
    for kind in KINDS:
        sent = desk.put(head(kind, "Cookie: a=1\r\n"))
        assert isinstance(sent, Sent)
        assert [value for name, value in sent.fields if name == "cookie"] == (["a=1"] if kind.cookies else [])


@pytest.mark.parametrize("spelled", ["to%20ken", "to+ken", "%74o+ken", "to%20ke%6e", "to%20ken=1&to+ken"])
def test_a_parameter_of_the_injected_name_is_removed(desk: Desk, spelled: str) -> None:
    """In whatever spelling the caller writes it, only the injected one is sent."""
    kind = next(kind for kind in KINDS if kind.query)
    sent = desk.put(head(kind, "", f"a=1&{spelled}=mine&b=2"))
    assert isinstance(sent, Sent)
    assert sent.target == f"/x?a=1&b=2&to%20ken={TARGET_TOKEN}"
