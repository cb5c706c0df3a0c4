"""The state of one worker: what a bundle changes, what the ticker ends, what its own pages say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from models.clock import SystemClock
from proxy_edge.client import NEVER
from proxy_edge.edge import Bundle
from proxy_edge.steps.lease import StaticLeases
from tests.kit.edge import policy
from tests.kit.memory import MemoryEdge, bundle


class Caller:
    """A connection as the ticker sees it."""

    def __init__(self, deadline: float = NEVER) -> None:
        self.deadline = deadline
        self.told: list[str] = []

    def deadline_passed(self) -> None:
        self.deadline = NEVER
        self.told.append("deadline")

    def drain(self) -> None:
        self.told.append("drain")

    def cut_off(self) -> None:
        self.told.append("cut off")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MemoryEdge]:
    memory = MemoryEdge(tmp_path, policy("http://target.test"))
    yield memory
    memory.edge.stats.close()


def ready(memory: MemoryEdge) -> tuple[int, dict[str, object]]:
    page = memory.edge.page(b"/ready")
    assert page is not None
    return page[0], orjson.loads(page[1])


def test_ready_tells_what_is_enforced(memory: MemoryEdge, tmp_path: Path) -> None:
    """Revision, age, link, spool depth, broken proxies and the policy's fault; a new bundle clears the fault."""
    edge = memory.edge
    status, body = ready(memory)
    assert 0 <= body.pop("ageSeconds") < 60  # type: ignore[operator]  # a number
    assert (status, body) == (
        200,
        {
            "ready": True,
            "revision": 1,
            "staleAfterSeconds": 900.0,
            "link": "file",
            "spoolDepth": 0,
            "region": "local",
            "brokenProxies": [],
            "policyFault": None,
        },
    )
    edge.source_fault = "policy.yaml:3: proxies[0].proxyName: is required"
    assert ready(memory)[1]["policyFault"] == edge.source_fault
    broken = policy("http://target.test", rules=[{"ruleId": "default", "effect": "deny"}])
    edge.apply(bundle(tmp_path / "broken", broken))
    status, body = ready(memory)
    assert (status, body["brokenProxies"], body["policyFault"]) == (200, ["proxy-one"], None)


def test_each_revision_is_told_before_it_is_in_force(memory: MemoryEdge, tmp_path: Path) -> None:
    """Permits must know which policy the limits they are asked for come from."""
    edge, told = memory.edge, list[tuple[int, bool]]()
    new = bundle(tmp_path / "new", policy("http://target.test"))
    edge._on_revision = lambda revision: told.append((revision, edge.policy is new.policy))
    edge.apply(new)
    assert told == [(new.policy.revision, False)]


def test_not_ready_before_a_policy_and_while_draining(tmp_path: Path, memory: MemoryEdge) -> None:
    """Without a policy, and once the edge stops, /ready is 503; /health stays 200."""
    edge = memory.edge
    edge._vouched_ns = None
    status, body = ready(memory)
    assert (status, body["ready"], body["ageSeconds"]) == (503, False, None)
    edge.apply(bundle(tmp_path / "again", policy("http://target.test")))
    assert ready(memory)[0] == 200
    edge.drain()
    assert ready(memory)[0] == 503
    assert edge.page(b"/health") == (200, b'{"status":"ok"}')


class Clock(SystemClock):
    """A boot clock that the test moves, in seconds."""

    boot = 0.0

    def boot_ns(self) -> int:
        return int(self.boot * 1e9)


def test_policy_is_as_old_as_its_source_says(memory: MemoryEdge) -> None:
    """Age counts from when the source vouched for it, on the boot clock; over the bound nothing is served."""
    edge = memory.edge
    edge.clock = clock = Clock()
    edge.confirm(890.0)
    assert not edge.stale
    clock.boot = 9.5
    edge.tick(0.1)
    assert (edge.stale, ready(memory)[1]["ageSeconds"]) == (False, 899.5)
    assert 'exeat_policy_age_seconds{worker="0"} 899.0' in edge.stats.render().decode()
    clock.boot = 10.5
    edge.tick(0.1)
    assert edge.stale
    assert ready(memory)[0] == 503
    edge.confirm(901.0)  # heard, but what was said is too old
    assert edge.stale
    edge.confirm(0.0)
    assert not edge.stale
    edge.apply(Bundle(edge.policy, edge.leases, age=1000.0))
    assert edge.stale


def test_leases_and_failures_are_metrics(memory: MemoryEdge) -> None:
    """Held ones as they stand, failures as they add up, over any change of the table."""
    edge = memory.edge
    edge.tick(0.1)
    assert 'exeat_leases{worker="0"} 1.0' in edge.stats.render().decode()

    class Failing(StaticLeases):
        failures = 3

    edge.leases = Failing()
    edge.tick(0.1)
    edge.tick(0.1)
    edge.leases = StaticLeases()
    edge.tick(0.1)
    text = edge.stats.render().decode()
    assert "exeat_lease_failures_total 3.0" in text
    assert 'exeat_leases{worker="0"} 0.0' in text


@pytest.mark.parametrize("path", [b"/", b"/ready/", b"/Ready", b"/metrics", b"/api/ready", b"/healthz"])
def test_nothing_else_is_a_page(memory: MemoryEdge, path: bytes) -> None:
    """Any other path is a proxy's, or nobody's."""
    assert memory.edge.page(path) is None


def test_ticker_ends_what_is_overdue(memory: MemoryEdge) -> None:
    """A connection whose deadline lies in the past is told once; one that leaves meanwhile disturbs nobody."""
    edge = memory.edge
    edge.now = 900.0  # the clock in memory stands at 1000

    class Leaving(Caller):
        def deadline_passed(self) -> None:
            super().deadline_passed()
            edge.clients.discard(self)

    overdue, leaving, later, never = Caller(999.9), Leaving(950), Caller(1000.1), Caller()
    edge.clients.update((overdue, leaving, later, never))
    edge.tick(0.1)
    edge.tick(0.1)
    assert edge.now == 1000.0
    assert [caller.told for caller in (overdue, leaving, later, never)] == [
        ["deadline"],
        ["deadline"],
        [],
        [],
    ]
    assert edge.clients == {overdue, later, never}


def test_ticker_tells_its_lag(memory: MemoryEdge) -> None:
    """How late the ticker ran is a metric, as are the connections and the records that wait."""
    edge = memory.edge
    edge.now = 999.5
    edge.clients.add(Caller())
    edge.tick(0.1)
    text = edge.stats.render().decode()
    lag = next(line for line in text.splitlines() if line.startswith("exeat_loop_lag_us{"))
    assert 399_000 <= float(lag.rpartition(" ")[2]) <= 401_000
    assert 'exeat_connections{worker="0"} 1.0' in text
    assert 'exeat_policy_revision{worker="0"} 1.0' in text


def test_drain_and_cut_off_reach_every_connection(memory: MemoryEdge) -> None:
    """Both are told to all, also to those that leave because of it."""
    edge = memory.edge

    class Leaving(Caller):
        def drain(self) -> None:
            super().drain()
            edge.clients.discard(self)

    callers = [Leaving() for _ in range(3)] + [Caller()]
    edge.clients.update(callers)
    edge.drain()
    assert edge.draining
    edge.cut_off()
    assert [caller.told for caller in callers] == [["drain"]] * 3 + [["drain", "cut off"]]
