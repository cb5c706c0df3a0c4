"""kill -9 of one part after another, under load: who holds a lease never notices, and the part is back by itself.

A part is back when there is another process of it, a change made through the API since is in force at every worker of
the edge, and a tenant made after that can be called and its record be read, which takes registry, vault, limiter,
redactor, recorder and link. It is correct when what was decided before still holds: what was allowed, what a rule
denies, what was revoked. Calls under a limit may wait, and none fails; calls that are redacted may fail, and not leak.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from models.custody.capability import LONGEST_MS
from scripts.up import ray_guard, sessions
from sdk import ExeatClient
from tests.kit.drills import CANARY, REDACTS, Drill, Killed, Tenants, Vouching, look
from tests.kit.governed import Governed
from tests.kit.load import Call, Load
from tests.kit.planes import RunningHome, running_home

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

HERE, THERE = "us-east-1", "eu-west-1"
BOUND, HEAD_BOUND = 30.0, 60.0
"""Seconds in which a part must be back, and the Ray head with all that runs in its cluster."""
LEASE = LONGEST_MS / 1000
"""How long a lease may be used at most."""
MARGIN = 2.0
"""Seconds: leases are looked after once a second."""
CONNECTIONS, PACE = 4, 0.04
"""The load: about 100 calls a second."""
LIMITED = {"max_requests_per_minute": 100_000}
"""Never reached; permits for it must be had all the same."""
WAIT = 10.0
"""Seconds that a call may wait for a permit."""
DRILLS = {
    "worker": (HERE, BOUND),
    "link": (HERE, BOUND),
    "registry": (HERE, BOUND),
    "vault": (HERE, BOUND),
    "limiter": (HERE, BOUND),
    "recorder": (HERE, BOUND),
    "redactor": (HERE, BOUND),
    "control": (None, BOUND),
    "raylet": (None, BOUND),
    "gcs": (None, HEAD_BOUND),
}
"""What is killed: its region, and in how many seconds it must be back."""
OF_RAY = {"raylet", "gcs"}
ON_THE_WAY = {"worker", "link", "redactor", *OF_RAY}
"""Without which nothing is redacted."""

GRANTED, DENIED = (200, "proxy-access-granted"), (403, "rule-denied")
REVOKED, INACTIVE = (503, "credential-unavailable"), (403, "proxy-inactive")
NOT_REDACTED = (502, "redaction-failed")


class Scene(NamedTuple):
    """What the drills share.

    steady: the load's tenant. witness: one that changes. revoked: its sender is. limited, redacted: lesser loads, of a
    tenant with a limit and of one with a filter.
    """

    drill: Drill
    tenants: Tenants
    steady: Governed
    witness: Governed
    revoked: Governed
    limited: Load
    redacted: Load
    noted: dict[str, dict[str, float]]
    """Of each part, after how many seconds what was so, and how many calls there were."""


@pytest.fixture(scope="module")
def target() -> Iterator[Vouching]:
    with Vouching() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHome]:
    with running_home(tmp_path_factory.mktemp("drills") / "home", regions=(HERE, THERE)) as started:
        yield started


@pytest.fixture(scope="module")
def scene(home: RunningHome, target: Vouching) -> Iterator[Scene]:
    """One load through all drills; at the end a table of what took how long."""
    tenants = Tenants(home, target)
    steady = tenants.make("steady", HERE, rules=[{"effect": "deny", "path": {"pattern": "^/private"}}])
    witness, revoked = tenants.make("witness", HERE), tenants.make("revoked", HERE)
    last = home.do(lambda api: api.credentials.revoke(revoked.client_id, revoked.sender_id))
    home.in_force(last.change)
    noted: dict[str, dict[str, float]] = {}
    limited = tenants.make("limited", HERE, proxy=LIMITED)
    redacted = tenants.make("redacted", HERE, filters=[REDACTS])
    home.in_force(redacted.change)
    with (
        Load(steady.port, steady.path, keepalive=CONNECTIONS, key=steady.key, pace=PACE) as load,
        Load(limited.port, limited.path, keepalive=2, key=limited.key, pace=2 * PACE) as slower,
        Load(
            redacted.port, redacted.path, keepalive=1, key=redacted.key, pace=4 * PACE, canary=CANARY
        ) as slowest,
    ):
        load.wait(100)
        slowest.wait(5)
        yield Scene(Drill(home, load), tenants, steady, witness, revoked, slower, slowest, noted)
    columns = ("process", "in force", "new tenant", "recorded", "calls")
    print("\npart      " + "".join(f"{name:>12}" for name in columns))  # noqa: T201 - a measurement
    for part, took in noted.items():
        print(f"{part:<10}" + "".join(f"{value:>12}" for value in took.values()))  # noqa: T201 - as above


def recover(scene: Scene, killed: Killed) -> float:
    """Since when (monotonic) the part is back, once it is correct, too; fails when that is not in time."""
    drill, steady, witness = scene.drill, scene.steady, scene.witness
    took = scene.noted[killed.part] = {}

    def note(what: str) -> None:
        took[what] = round(time.monotonic() - killed.at, 1)

    drill.replaced(killed)
    note("process")
    off = drill.done(killed, lambda api: api.proxies.patch(witness.client_id, witness.proxy_id, active=False))
    drill.in_force(killed, off.change)
    assert drill.ask(witness) == {INACTIVE}
    note("in force")
    for region in drill.home.regions if killed.part in OF_RAY else (HERE,):
        fresh = scene.tenants.make(f"after-{killed.part}-{region}", region, proxy=LIMITED, filters=[REDACTS])
        drill.shown(killed, fresh, GRANTED)
    note("new tenant")
    back = time.monotonic()
    drill.recorded(killed, fresh)
    note("recorded")
    assert drill.ask(steady) == {GRANTED}
    assert drill.ask(steady, "/private/x") == {DENIED}
    assert drill.ask(scene.revoked) == {REVOKED}
    drill.done(killed, lambda api: api.proxies.patch(witness.client_id, witness.proxy_id, active=True))
    drill.shown(killed, witness, GRANTED)
    drill.well(killed)
    took["calls"] = len(drill.calls(killed))
    return back


def nobody_noticed(scene: Scene, killed: Killed, back: float) -> None:
    """Every call since the kill was granted, with the credential, but for those on a killed worker's connections.

    A lease is renewed at half of its life; whoever held one at the kill holds it at least that long.
    """
    drill = scene.drill
    drill.load.wait(50)
    calls = leased(drill.calls(killed), killed.at + LEASE / 2 - MARGIN, back)
    assert any(call.sent < back for call in calls)
    unanswered = drill.lost(killed)
    assert Counter(call.status for call in calls if call.status) == {200: len(calls) - len(unanswered)}
    if killed.part == "worker":
        # One at most of each connection that this worker had, and none of the other worker's.
        assert len(unanswered) <= CONNECTIONS
        assert len(set(unanswered)) <= 1
    else:
        assert unanswered == []
    assert drill.load.refused == 0
    assert max(call.ended - call.sent for call in calls) < 5.0  # none had to wait for anything to come back
    limits_held(scene, killed, back)
    nothing_leaked(scene, killed, back)


def limits_held(scene: Scene, killed: Killed, back: float) -> None:
    """Calls under a limit were granted, if need be after a wait, whatever was killed.

    They come steadily, so that permits for half a minute were there, of the next window, too, should it have turned.
    """
    since = [call for call in scene.limited.calls if call.ended > killed.at]
    calls = leased(since, killed.at + LEASE / 2 - MARGIN, back)
    assert {(call.status, call.code) for call in calls if call.status} == {GRANTED}
    assert killed.part == "worker" or all(call.status for call in calls)
    assert max(call.ended - call.sent for call in calls) < WAIT + MARGIN
    assert scene.limited.calls[-1].status == 200


def nothing_leaked(scene: Scene, killed: Killed, back: float) -> None:
    """No call of the redacted tenant ever had anything in clear; where a part on its way was missing it failed."""
    assert not any(call.leaked for call in scene.redacted.calls)
    since = [call for call in scene.redacted.calls if call.ended > killed.at]
    calls = leased(since, killed.at + LEASE / 2 - MARGIN, back)
    expected = {GRANTED, NOT_REDACTED} if killed.part in ON_THE_WAY else {GRANTED}
    assert {(call.status, call.code) for call in calls if call.status} <= expected
    assert killed.part == "worker" or all(call.status for call in calls)


def leased(calls: list[Call], end: float, back: float) -> list[Call]:
    """Without those that were sent after the `end` of a lease and before there could be another one."""
    return [call for call in calls if call.sent < end or call.sent > back]


@pytest.mark.parametrize("part", [part for part in DRILLS if part not in {"control", *OF_RAY}])
def test_killed_part_is_back_within_its_time(scene: Scene, part: str) -> None:
    """An edge worker, the link, the registry, the vault: by whoever supervises them."""
    region, bound = DRILLS[part]
    killed = scene.drill.kill(part, region, bound)
    nobody_noticed(scene, killed, recover(scene, killed))


def test_killed_control_api_is_back_with_all_data(scene: Scene) -> None:
    """Calls go on without it; the same token is good afterwards, and everything reads as it did."""
    drill = scene.drill
    token, before = drill.home.token, drill.home.do(everything)
    killed = drill.kill("control", *DRILLS["control"])
    nobody_noticed(scene, killed, recover(scene, killed))
    assert drill.home.token == token
    after = drill.home.do(everything)
    del before[scene.witness.proxy_id]  # changed meanwhile, on purpose
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("part", sorted(OF_RAY, reverse=True))
def test_killed_ray_head_is_back_within_its_time(scene: Scene, part: str) -> None:
    """The raylet, then the GCS, at a moment when leases must be renewed while Ray is away.

    What the head's session had running is gone, and calls go on beyond the end of all leases that the vault before gave.
    """
    drill = scene.drill
    aged = scene.tenants.make(f"before-{part}", HERE)
    drill.home.in_force(aged.change)
    with Load(aged.port, aged.path, keepalive=CONNECTIONS, key=aged.key, pace=10 * PACE) as late:
        late.wait(1)
        first = late.calls[0].sent
        if part == "gcs":
            # Five seconds before half-life, at which it is asked for again.
            look(lambda: late.calls[-1].sent > first + LEASE / 2 - 5, first + LEASE, lambda: "a lease to age")
        session, start = head_session(drill.home)
        killed = drill.kill(part, *DRILLS[part])
        back = recover(scene, killed)
        nobody_noticed(scene, killed, back)
        assert sessions.remaining(session, start) == []
        assert head_session(drill.home) != (session, start)
        if part == "gcs":
            look(lambda: late.calls[-1].sent > first + LEASE + 1, killed.at + LEASE + 10, lambda: "its end")
    held = leased(late.calls, first + LEASE - MARGIN, back)
    assert {call.status for call in held} == {200}


def head_session(home: RunningHome) -> tuple[int, int]:
    """The session of the Ray head, with the start of its leader."""
    record = json.loads(ray_guard.session_file(home.root).read_text())
    return record["session"], record["start"]


async def everything(api: ExeatClient) -> dict[str, dict[str, Any]]:
    """Every resource of every client, as the API answers it, by its id."""
    found: dict[str, dict[str, Any]] = {}
    async for client in api.clients.each():
        found[client.id] = client.wire
        for group in (api.credentials, api.targets, api.proxies):
            async for one in group.each(client.id):
                found[one.id] = one.wire
                async for rule in group.rules.each(client.id, one.id):
                    found[rule.id] = rule.wire
    return found
