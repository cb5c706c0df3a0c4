"""Invariant 3: either plane may be gone.

Here the other plane is the policy file: once an edge has a policy it serves it, whatever becomes of the file.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.load import Load
from tests.kit.raw import RawClient, get
from tests.kit.upstream import Answer, Upstream


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
