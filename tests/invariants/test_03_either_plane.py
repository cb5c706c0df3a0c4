"""Invariant 3: either plane may be gone.

Control API, registry, vault, link, each alone and all at once: the edge serves the last policy, also after a restart,
for as long as it may; the Core API takes changes for a region that is away. The policy file is a plane as well: once
an edge has read it, it serves it, whatever becomes of the file. Ray and real processes: tests/e2e.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kit.api import REGIONS, api, target_body
from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.linked import LinkedEdge, RegionThread, linked
from tests.kit.load import Load
from tests.kit.raw import RawClient, get
from tests.kit.upstream import Answer, Upstream
from tests.kit.whole_region import WholeRegion


def fault(edge: EdgeProcess) -> str | None:
    """What one worker says of the policy file, while it is ready."""
    with RawClient(edge.port) as client:
        client.send(get("/ready", key=None))
        answer = client.answer()
    assert answer.status == 200
    found: str | None = json.loads(answer.body)["policyFault"]
    return found


def remove(edge: EdgeProcess) -> None:
    edge.policy_path.unlink()


def spoil(edge: EdgeProcess) -> None:
    draft = edge.policy_path.with_suffix(".new")
    draft.write_text("nonsense")
    draft.rename(edge.policy_path)


@pytest.mark.parametrize("lose", [remove, spoil])
def test_edge_serves_on_without_its_policy_file(tmp_path: Path, lose: Callable[[EdgeProcess], None]) -> None:
    """A file that is gone or spoiled costs no call, also when a worker is killed meanwhile; its return is noticed."""
    with Upstream(lambda _: Answer(body=b"ok")) as upstream:
        document = policy(upstream.url, rules=[{"effect": "deny", "path": {"pattern": "^/denied"}}])
        with running_edge(tmp_path, document, workers=2) as edge:
            with Load(edge.port, keepalive=4, fresh=2) as load:
                load.wait(20)
                lose(edge)
                until(lambda: fault(edge), 5, "the fault in /ready")
                load.wait(100)
            assert set(load.statuses()) == {200}
            assert load.refused == 0

            os.kill(edge.worker_pids()[0], signal.SIGKILL)
            until(lambda: "worker cannot start" in edge.log(), 10, "an attempt to replace it")
            with Load(edge.port, "/api/api/denied", keepalive=2, fresh=2) as load:
                load.wait(50)
            assert set(load.statuses()) == {403}  # what is enforced is the policy, not its absence
            assert load.refused == 0

            edge.write_policy(document)
            until(
                lambda: "worker ready" in edge.log().rpartition("worker cannot start")[2], 15, "both workers"
            )
            until(lambda: len(edge.worker_pids()) == 2 and not fault(edge), 5, "the repair")


def test_edge_stops_serving_when_the_file_is_gone_for_too_long(tmp_path: Path) -> None:
    """After EXEAT_OFFLINE_SECONDS without its source an edge answers 503 and is not ready; the return ends that."""
    with Upstream(lambda _: Answer(body=b"ok")) as upstream:
        document = policy(upstream.url)
        with (
            running_edge(tmp_path, document, environment={"EXEAT_OFFLINE_SECONDS": "1"}) as edge,
            RawClient(edge.port) as client,
        ):

            def status(path: str = "/api/api/x") -> int:
                client.send(get(path))
                return client.answer().status

            assert status() == 200
            remove(edge)
            assert status() == 200
            until(lambda: status() == 503, 10, "the policy to be too old")
            assert status("/ready") == 503

            edge.write_policy(document)
            until(lambda: status() == 200, 5, "the file's return")
            assert status("/ready") == 200


# -- the planes ---------------------------------------------------------------------------------------


class Whole(NamedTuple):
    """A region, all of it but Ray, and its edge."""

    plane: RegionThread
    edge: LinkedEdge
    region: WholeRegion

    def lose(self, part: str) -> None:
        """Takes a part away."""
        if part == "link":
            self.plane.leave()
        elif part == "vault":
            self.region.away = True
        else:
            self.plane.do(self.region.feed_stop() if part == "control" else self.region.registry_stop())

    def back(self, part: str) -> None:
        """Brings it back."""
        if part == "link":
            self.plane.attend()
        elif part == "vault":
            self.region.away = False
        else:
            self.plane.do(self.region.feed_start() if part == "control" else self.region.registry_start())

    def code(self, path: str = "/api/api/x", **options: str) -> tuple[int, str | None]:
        answer = self.edge.get(path, **options)
        return answer.status, answer.get("exeat-proxy-code")

    def follows(self) -> None:
        """Returns once a change made now is enforced."""
        self.plane.call("proxy", "later", proxyAlias=None)
        revision = self.plane.call("publish").revision
        until(lambda: self.edge.ready()["revision"] == revision, 20, f"revision {revision}")


PARTS = ("control", "registry", "vault", "link")
RULE = {"ruleId": "no", "effect": "deny", "path": {"pattern": "^/denied"}}


def begin(whole: Whole, upstream: Upstream) -> None:
    """One proxy with a credential, alias `api`, and one without, alias `open`."""
    whole.plane.attend()
    whole.plane.do(whole.region.credential("bare", "target", "none", None))
    whole.plane.call("proxy", "open", proxyAlias="open", proxyTargetCredentialId="bare")
    whole.plane.do(whole.region.sample(upstream.url, rules=[RULE]))
    whole.edge.wait_ready()
    assert whole.code() == (200, "proxy-access-granted")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("planes")
    with (
        Upstream(lambda _: Answer(body=b"ok")) as upstream,
        linked(folder, kind=WholeRegion, workers=2) as (plane, edge),
    ):
        found = Whole(plane, edge, plane.region)
        begin(found, upstream)
        yield found


@pytest.mark.parametrize("lost", [*((part,) for part in PARTS), PARTS], ids="-".join)
def test_edge_serves_whatever_is_lost(whole: Whole, lost: tuple[str, ...]) -> None:
    """While its leases last no call fails; what is refused stays so; when the part is back, so are changes."""
    with Load(whole.edge.port, keepalive=3, fresh=1) as load:
        load.wait(20)
        for part in lost:
            whole.lose(part)
        load.wait(100)
        assert whole.code("/api/api/denied") == (403, "rule-denied")
        assert whole.code(key="wrong-key-0123456789")[0] == 401
        for part in lost:
            whole.back(part)
        whole.follows()
        load.wait(20)
    assert set(load.statuses()) == {200}
    assert load.refused == 0


def test_edge_restarted_without_any_plane_serves_the_last_policy(whole: Whole) -> None:
    """Everything is gone and the edge was killed: rules and callers as before, what needs no lease is served."""
    for part in PARTS:
        whole.lose(part)
    whole.edge.kill()
    whole.edge.start().wait_ready()
    assert whole.edge.ready()["link"] == "away"
    assert whole.code("/api/open/x") == (200, "proxy-access-granted")
    assert whole.code("/api/open/x", key="wrong-key-0123456789")[0] == 401
    assert whole.code("/api/api/denied") == (403, "rule-denied")
    assert whole.code() == (503, "credential-unavailable")  # standby leases would change that
    for part in PARTS:
        whole.back(part)
    whole.follows()
    assert whole.code() == (200, "proxy-access-granted")


def test_a_cut_off_edge_stops_in_time(tmp_path: Path) -> None:
    """EXEAT_OFFLINE_SECONDS after the control plane was heard last it is 503, whatever else is there, also restarted."""
    with (
        Upstream(lambda _: Answer(body=b"ok")) as upstream,
        linked(tmp_path, kind=WholeRegion, offline_seconds="4") as (plane, edge),
    ):
        whole = Whole(plane, edge, plane.region)
        begin(whole, upstream)
        whole.lose("control")
        until(lambda: whole.code() == (503, "policy-unavailable"), 15, "the policy to be too old")
        whole.lose("link")
        whole.edge.kill()
        whole.edge.start().wait_ready()
        assert whole.code("/api/open/x") == (503, "policy-unavailable")
        assert whole.edge.get("/ready", None).status == 503
        whole.back("link")
        until(lambda: whole.edge.ready()["link"] == "connected", 5)
        assert whole.code("/api/open/x") == (503, "policy-unavailable")
        whole.back("control")
        until(lambda: whole.code() == (200, "proxy-access-granted"), 15, "a fresh manifest")


async def test_core_api_takes_changes_for_a_region_that_is_away(tmp_path: Path) -> None:
    """They are `pending`, read back as written, and reach the region in order when it comes; the other follows at once."""
    here, there = REGIONS
    async with api(tmp_path, away=(there,)) as core:
        made = [
            await core.post("{c}/targets", target_body(there, targetName=f"Target {number}"))
            for number in range(3)
        ]
        near = await core.post("{c}/targets", target_body(here))
        assert [answer.status_code for answer in (*made, near)] == [201] * 4
        assert {answer.headers["exeat-propagation"] for answer in made} == {"pending"}
        assert near.headers["exeat-propagation"] == "applied"
        revisions = [int(answer.headers["exeat-revision"]) for answer in made]
        assert len((await core.get("{c}/targets")).json()["targets"]) == 4
        region = core.regions[there]
        assert region.state.revision == -1
        region.come()
        assert await core.plane.ledger.propagated(revisions[-1], (there,), 5.0)
        assert sorted(one.revision for one in region.state.documents.values()) == revisions
