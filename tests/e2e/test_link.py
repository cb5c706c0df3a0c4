"""An edge that takes policy and leases from its link: first start, changes, absences, restarts. Ray's part is the test's."""

from __future__ import annotations

import base64
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, until
from tests.kit.linked import LinkedEdge, RegionThread, linked
from tests.kit.load import Load
from tests.kit.raw import RawClient, get
from tests.kit.upstream import Answer, Upstream


def code(edge: LinkedEdge, path: str = "/api/api/x", **options: Any) -> tuple[int, str]:
    answer = edge.get(path, **options)
    return answer.status, answer.get("exeat-proxy-code") or ""


def publish(plane: RegionThread, name: str = "proxy-one", **fields: Any) -> None:
    plane.call("proxy", name, **fields)
    plane.call("publish")


def test_callers_wait_for_the_first_policy(tmp_path: Path) -> None:
    """Before it there is no answer and no refusal; connections queue, and are answered when it comes."""
    with Upstream(lambda _: Answer(body=b"ok")) as upstream, linked(tmp_path, workers=2) as (plane, edge):
        until(lambda: "waiting for a policy" in edge.log(), 20)
        with RawClient(edge.port) as client:
            client.send(get("/api/api/x"))
            plane.attend()  # a link that has nothing yet
            until(lambda: "link connected" in edge.log(), 10)
            assert not edge.is_ready()
            plane.do(plane.region.sample(upstream.url))
            answer = client.answer()
            assert (answer.status, answer.body) == (200, b"ok")
        edge.wait_ready()
        assert upstream.seen[0].get("authorization") == f"Bearer {TARGET_TOKEN}"


def test_edge_that_waits_can_be_stopped(tmp_path: Path) -> None:
    """SIGTERM ends it at once, with status 0; a worker killed while it waits is replaced."""
    with linked(tmp_path) as (_, edge):
        until(lambda: "waiting for a policy" in edge.log(), 20)
        (victim,) = edge.children("exeat-worker")
        os.kill(victim, signal.SIGKILL)
        until(lambda: edge.log().count("waiting for a policy") == 2, 10)
        began = time.monotonic()
        assert edge.stop() == 0
        assert time.monotonic() - began < 5


def test_policy_follows_the_link(tmp_path: Path) -> None:
    """A change, a rotated secret and a revocation, each in force at every worker without a restart."""
    with Upstream() as upstream, linked(tmp_path, workers=2) as (plane, edge):
        plane.attend()
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        assert code(edge) == (200, "proxy-access-granted")
        ready = edge.ready()
        assert (ready["ready"], ready["link"], ready["revision"]) == (True, "connected", 1)
        assert (ready["staleAfterSeconds"], ready["ageSeconds"] < 30) == (900.0, True)

        publish(plane, rules=[{"ruleId": "no", "effect": "deny", "path": {"pattern": "^/denied"}}])
        until(lambda: {code(edge, "/api/api/denied")[0] for _ in range(8)} == {403}, 5)

        plane.do(plane.region.credential("sender", "target", "bearer", {"token": "rotated-token-0123456789"}))
        publish(plane)

        def rotated() -> bool:
            before = len(upstream.seen)
            for _ in range(8):
                edge.get("/api/api/x")
            sent = {one.get("authorization") for one in upstream.seen[before:]}
            return sent == {"Bearer rotated-token-0123456789"}

        until(rotated, 5)
        plane.do(plane.region.revoke("sender"))
        until(lambda: {code(edge) for _ in range(8)} == {(503, "credential-unavailable")}, 5)
        plane.do(plane.region.revoke("caller"))
        until(lambda: {code(edge)[0] for _ in range(8)} == {401}, 5)


def test_edge_serves_without_its_link(tmp_path: Path) -> None:
    """While its leases live; when the link is back it goes on; a worker killed meanwhile starts from the snapshot."""
    with Upstream(lambda _: Answer(body=b"ok")) as upstream, linked(tmp_path) as (plane, edge):
        plane.attend()
        plane.do(plane.region.credential("bare", "target", "none", None))
        plane.call("proxy", "open", proxyAlias="open", proxyTargetCredentialId="bare")
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        with Load(edge.port, keepalive=2, fresh=2) as load:
            load.wait(20)
            plane.leave()
            until(lambda: edge.ready()["link"] == "away", 5)
            load.wait(50)
        assert set(load.statuses()) == {200}
        (victim,) = edge.children("exeat-worker")
        os.kill(victim, signal.SIGKILL)
        until(lambda: edge.children("exeat-worker") not in ([], [victim]), 5)
        assert code(edge, "/api/open/x") == (200, "proxy-access-granted")
        assert code(edge, "/api/open/x", key="wrong-key-0123456789")[0] == 401
        publish(plane, proxyActive=False)
        plane.attend()
        until(lambda: code(edge) == (403, "proxy-inactive"), 5)
        assert edge.ready()["link"] == "connected"


def test_restart_without_any_plane(tmp_path: Path) -> None:
    """From its snapshot it serves at once what needs no new lease; what needs one is refused after the wait."""
    with Upstream(lambda _: Answer(body=b"ok")) as upstream, linked(tmp_path, workers=2) as (plane, edge):
        plane.attend()
        plane.do(plane.region.credential("bare", "target", "none", None))
        plane.call("proxy", "open", proxyAlias="open", proxyTargetCredentialId="bare")
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        assert code(edge) == (200, "proxy-access-granted")
        plane.leave()
        edge.kill()
        edge.start().wait_ready()
        ready = edge.ready()
        assert (ready["link"], ready["revision"], ready["ready"]) == ("away", 1, True)
        assert code(edge, "/api/open/x") == (200, "proxy-access-granted")
        began = time.monotonic()
        assert code(edge) == (503, "credential-unavailable")
        assert 4 < time.monotonic() - began < 8
        plane.attend()
        until(lambda: code(edge) == (200, "proxy-access-granted"), 5)


def test_policy_too_old_is_not_enforced(tmp_path: Path) -> None:
    """EXEAT_OFFLINE_SECONDS after it was vouched for it is 503, also after a restart, until it is vouched for anew."""
    with (
        Upstream(lambda _: Answer(body=b"ok")) as upstream,
        linked(tmp_path, offline_seconds="3") as (plane, edge),
    ):
        plane.attend()
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        assert code(edge) == (200, "proxy-access-granted")
        plane.leave()
        until(lambda: code(edge) == (503, "policy-unavailable"), 10)
        assert edge.get("/ready", None).status == 503
        edge.kill()
        edge.start().wait_ready()
        assert code(edge) == (503, "policy-unavailable")
        plane.attend()  # it has no newer issue
        until(lambda: edge.ready()["link"] == "connected", 5)
        assert code(edge) == (503, "policy-unavailable")
        plane.call("reissue")
        until(lambda: code(edge) == (200, "proxy-access-granted"), 3)


@pytest.mark.parametrize("harm", ["altered", "copied"])
def test_snapshot_that_cannot_be_believed_is_not_served(tmp_path: Path, harm: str) -> None:
    """Altered, or of another host: set aside, logged, and the worker waits for the link as if there were none."""
    with Upstream() as upstream, linked(tmp_path / "one") as (plane, edge):
        plane.attend()
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        plane.leave()
        edge.kill()
        state = plane.region.edge_home.snapshot / "state"
        if harm == "altered":
            whole = bytearray(state.read_bytes())
            whole[-1] ^= 1
            state.write_bytes(whole)
        else:
            plane.region.edge_home.host_key.write_text(os.urandom(32).hex())
        edge.start()
        until(lambda: "snapshot refused" in edge.log(), 20)
        until(lambda: "waiting for a policy" in edge.log().rpartition("snapshot refused")[2], 10)
        assert (state.parent / "state.refused").exists()
        assert not edge.is_ready()


def test_no_plaintext_in_any_file_of_the_edge(tmp_path: Path) -> None:
    """Snapshot, logs, records, rings: no secret of either side in plain, base64 or hex, nor the pepper."""
    with Upstream() as upstream, linked(tmp_path) as (plane, edge):
        plane.attend()
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        assert code(edge, "/api/api/x?a=b") == (200, "proxy-access-granted")
        until(lambda: list((edge.home / "spool").glob("*.ndjson")), 5, "records in the spool")
        pepper = plane.region.core._lessor._pepper.reveal()
        secrets = [TARGET_TOKEN.encode(), CALLER_KEY.encode(), pepper]
        forms = [form for one in secrets for form in (one, base64.b64encode(one), one.hex().encode())]
        files = [path for path in edge.home.rglob("*") if path.is_file()]
        assert {"state", "edge.log"} <= {path.name for path in files}
        for path in files:
            assert not [form for form in forms if form in path.read_bytes()], path


def test_command_is_carried_out_by_one_worker(tmp_path: Path) -> None:
    """A target is tried out from the edge, with its credential; the result comes back."""
    with Upstream(lambda _: Answer(status=204)) as upstream, linked(tmp_path, workers=2) as (plane, edge):
        plane.attend()
        plane.do(plane.region.sample(upstream.url, target={"targetTestPath": "/ping"}))
        edge.wait_ready()
        assert plane.call("run", plane.region.command(credential="sender"))
        until(lambda: plane.region.results, 10)
        (result,) = plane.region.results
        assert (result.status, result.code) == (204, None)
        assert [one.target for one in upstream.seen] == ["/ping"]
        assert upstream.seen[0].get("authorization") == f"Bearer {TARGET_TOKEN}"
