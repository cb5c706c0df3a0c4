"""Revocation: at once where a lease is live, on either side, also while referenced, for ever, over every restart."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from models.secret import Secret
from sdk import ApiProblem, Change
from tests.kit.edge import until
from tests.kit.governed import Governed, Workers
from tests.kit.load import Load
from tests.kit.planes import RunningHome
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Upstream

REGION = "us-east-1"
ROLES = ("vault", "registry", "limiter", "redactor", "recorder")
AT_THE_EDGE, NOISE = 1.0, 1.0
"""Seconds in which connected edges follow an answer `applied` (API.md section 2), and what a busy machine adds."""
ENDED = {"caller_id": (401, "credential-rejected"), "sender_id": (503, "credential-unavailable")}
SIDES = pytest.mark.parametrize("side", ENDED)
pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def one(custody_home: RunningHome, upstream: Upstream) -> Governed:
    """A tenant of its own whose credentials are in use: every worker has the lease."""
    governed = custody_home.govern(upstream.url)
    with Workers(custody_home.edge_port(REGION), custody_home.workers) as workers:
        assert {answer.status for answer in workers.ask(get(governed.path, key=governed.key))} == {200}
    return governed


def shown(answer: RawAnswer) -> tuple[int, str | None]:
    return answer.status, answer.get("exeat-proxy-code")


def ask(governed: Governed) -> tuple[int, str | None]:
    with RawClient(governed.port, 20) as client:
        client.send(get(f"{governed.path}/x", key=governed.key))
        return shown(client.answer())


def revoke(home: RunningHome, governed: Governed, side: str) -> Any:
    """Revokes one of its credentials."""
    return home.do(lambda api: api.credentials.revoke(governed.client_id, getattr(governed, side)))


def refusal(home: RunningHome, work: Any) -> ApiProblem:
    with pytest.raises(ApiProblem) as refused:
        home.do(work)
    return refused.value


def in_force(home: RunningHome, change: Change) -> None:
    assert change.propagation == "applied"
    home.in_force(change, 20)


@SIDES
def test_revocation_ends_a_credential_under_load(
    custody_home: RunningHome, upstream: Upstream, one: Governed, side: str
) -> None:
    """Its lease is live and proxies refer to it: from a second after the answer on, no worker lets a call through."""
    with Load(one.port, one.path, keepalive=6, fresh=2, key=one.key) as load:
        load.wait(100)
        revoked = revoke(custody_home, one, side)
        answered = time.monotonic()
        assert (revoked.status, revoked.change.propagation) == ("revoked", "applied")
        until(lambda: {(call.status, call.code) for call in load.calls[-100:]} == {ENDED[side]}, 10)
        sent = len(upstream.seen)
        load.wait(200)
    late = [call for call in load.calls if call.sent > answered + AT_THE_EDGE + NOISE]
    assert {(call.status, call.code) for call in late} <= {ENDED[side]}
    assert max(call.sent for call in load.calls if call.status == 200) < answered + AT_THE_EDGE + NOISE
    assert {call.status for call in load.calls} == {200, ENDED[side][0]}
    assert len(upstream.seen) == sent
    in_force(custody_home, revoked.change)
    proxy = custody_home.do(lambda api: api.proxies.get(one.client_id, one.proxy_id))
    assert (proxy.target_credential_id, list(proxy.proxy_credential_ids)) == (one.sender_id, [one.caller_id])


@SIDES
def test_revocation_is_terminal(custody_home: RunningHome, one: Governed, side: str) -> None:
    """No new secret, no other field, no new rule, no second revocation brings it back; a new credential serves."""
    credential = getattr(one, side)
    revoke(custody_home, one, side)
    field, text = ("key", "new-key-of-the-caller") if side == "caller_id" else ("token", "new-target-token")
    renewal = {field: Secret(text)}
    was = custody_home.do(lambda api: api.credentials.get(one.client_id, credential))
    renewed = {"name": was.name, "type": was.type, "auth_type": was.auth_type, "region": was.region}
    assert {
        refusal(
            custody_home, lambda api: api.credentials.patch(one.client_id, credential, secret=renewal)
        ).status,
        refusal(
            custody_home,
            lambda api: api.credentials.replace(one.client_id, credential, **renewed, secret=renewal),
        ).status,
    } == {409}
    custody_home.do(lambda api: api.credentials.patch(one.client_id, credential, name="another name"))
    custody_home.do(lambda api: api.credentials.rules.create(one.client_id, credential, {"effect": "allow"}))
    again = revoke(custody_home, one, side)
    in_force(custody_home, again.change)
    assert again.status == "revoked"
    assert ask(one) == ENDED[side]
    kind = (
        {"type": "proxy", "auth_type": "apiKey"}
        if side == "caller_id"
        else {"type": "target", "auth_type": "bearer"}
    )
    fresh = custody_home.do(
        lambda api: api.credentials.create(one.client_id, name="n", region=REGION, secret=renewal, **kind)
    )
    place = (
        {"proxy_credential_ids": [fresh.id]} if side == "caller_id" else {"target_credential_id": fresh.id}
    )
    changed = custody_home.do(lambda api: api.proxies.patch(one.client_id, one.proxy_id, **place))
    in_force(custody_home, changed.change)
    assert ask(one._replace(key=text) if side == "caller_id" else one) == (200, "proxy-access-granted")


def test_revocations_survive_every_restart(custody_home: RunningHome, upstream: Upstream) -> None:
    """Kill -9 of every role's actors, link, workers, edge and control API, one by one and then all: refused throughout."""
    home = custody_home
    ended = {side: home.govern(upstream.url) for side in ENDED}
    alive = home.govern(upstream.url)
    for governed in (*ended.values(), alive):
        assert ask(governed)[0] == 200
    revoked = {side: revoke(home, governed, side) for side, governed in ended.items()}
    for one in revoked.values():
        in_force(home, one.change)

    def holds() -> bool:
        """Whether the others are served; a revoked credential is refused meanwhile, whatever else is missing."""
        for side, governed in ended.items():
            try:
                found = ask(governed)
            except (OSError, EOFError):  # nobody serves at this moment
                return False
            assert found in {ENDED[side], (503, "policy-unavailable"), (503, "credential-unavailable")}
        return ask(alive) == (200, "proxy-access-granted")

    parts = (*ROLES, "link", "worker", "edge", "control")
    sent = len([seen for seen in upstream.seen if _is_of(seen, ended)])
    for together in (*((part,) for part in parts), parts):
        gone = {part: home.pids(part, None if part == "control" else REGION) for part in together}
        for pids in gone.values():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    assert len(together) > 1  # it went with its parent
        for part, pids in gone.items():
            until(lambda part=part, pids=pids: _is_back(home, part, pids), 60, f"{part} back")
        until(holds, 60, f"calls after the end of {together}")
        for side, governed in ended.items():
            assert ask(governed) == ENDED[side], together
    assert len([seen for seen in upstream.seen if _is_of(seen, ended)]) == sent
    for side, governed in ended.items():
        # The control API of now answers from its log what the one before was told.
        found = home.do(lambda api, one=governed, s=side: api.credentials.get(one.client_id, getattr(one, s)))
        assert found.status == "revoked"
        problem = refusal(
            home,
            lambda api, one=governed, s=side: api.credentials.patch(
                one.client_id,
                getattr(one, s),
                secret={"key" if s == "caller_id" else "token": Secret("x" * 20)},
            ),
        )
        assert problem.status == 409


def _is_back(home: RunningHome, part: str, gone: list[int]) -> bool:
    now = home.pids(part, None if part == "control" else REGION)
    return len(now) >= len(gone) and not set(now) & set(gone)


def _is_of(seen: Any, governed: dict[str, Governed]) -> bool:
    return seen.get("authorization") in {f"Bearer {one.secret}" for one in governed.values()}
