"""A revoked credential is refused within a second, also under load."""

from __future__ import annotations

import time

import pytest

from models.secret import Secret
from sdk import ApiProblem
from tests.e2e.planes.changes import IN_FORCE, NOISE, Enforced, ask, call, shows
from tests.kit.edge import until
from tests.kit.governed import Governed
from tests.kit.load import Load
from tests.kit.planes import RunningHome
from tests.kit.upstream import Upstream


def test_revocation_stops_a_leased_credential(
    shared_home: RunningHome, enforced: Enforced, upstream: Upstream, one: Governed
) -> None:
    """While calls use its lease: refused within a second at every worker, and never sent again, nor brought back."""
    assert call(one).status == 200
    enforced.after(
        lambda api: api.credentials.revoke(one.client_id, one.sender_id),
        ask(one),
        shows(503, "credential-unavailable"),
    )
    before = len(upstream.seen)
    with Load(one.port, one.path, keepalive=4, key=one.key) as load:
        load.wait(200)
    assert load.statuses().keys() == {503}
    assert len(upstream.seen) == before
    with pytest.raises(ApiProblem) as refused:
        shared_home.do(
            lambda api: api.credentials.patch(
                one.client_id, one.sender_id, secret={"token": Secret("another-token-of-it")}
            )
        )
    assert refused.value.status == 409


def test_revocation_under_load_lets_no_later_call_through(
    shared_home: RunningHome, upstream: Upstream, one: Governed
) -> None:
    """Calls without a pause on eight connections: none that was sent after a second succeeds."""
    with Load(one.port, one.path, keepalive=8, key=one.key) as load:
        load.wait(100)
        revoked = shared_home.do(lambda api: api.credentials.revoke(one.client_id, one.sender_id))
        answered = time.monotonic()
        assert revoked.status == "revoked"
        until(lambda: {call.status for call in load.calls[-100:]} == {503}, 10, "only refusals")
        load.wait(200)
    late = [call for call in load.calls if call.sent > answered + IN_FORCE + NOISE]
    assert not [call for call in late if call.status != 503]
    last = max(call.sent for call in load.calls if call.status == 200)
    assert last - answered < IN_FORCE + NOISE
    assert load.calls[-1].code == "credential-unavailable"


def test_revoked_caller_is_refused(shared_home: RunningHome, enforced: Enforced, one: Governed) -> None:
    """Also while a proxy refers to the credential, which stays as it was otherwise."""
    enforced.after(
        lambda api: api.credentials.revoke(one.client_id, one.caller_id),
        ask(one),
        shows(401, "credential-rejected"),
    )
    shown = shared_home.do(lambda api: api.credentials.get(one.client_id, one.caller_id))
    assert shown.status == "revoked"
