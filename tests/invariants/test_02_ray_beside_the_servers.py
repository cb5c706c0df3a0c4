"""Invariant 2: Ray lives beside the servers, never inside them.

Neither the edge nor the control API has any of Ray in it; the one process of the edge that does is its link, and when
that goes the workers serve on while another takes its place. With a real cluster: tests/cluster and tests/e2e.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.edge import ROOT, until
from tests.kit.linked import LinkedEdge, linked
from tests.kit.load import Load
from tests.kit.upstream import Answer, Upstream

SERVERS = ("models", "store", "proxy_edge", "control_api", "sdk")
EVERYTHING = """
import importlib, pkgutil, sys
for package in sys.argv[1].split(","):
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
importlib.import_module(sys.argv[2])
print(sorted(name for name in sys.modules if name.partition(".")[0] == "ray"))
"""


def imported(last: str) -> str:
    """What of Ray a process has that imported every module of the servers, and `last`."""
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING, ",".join(SERVERS), last],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("last", ["scripts.cli", "actors.link_client", "scripts.commands.parts"])
def test_servers_do_not_import_ray(last: str) -> None:
    """Every module of control API, edge, stores and client, and the programs that start them."""
    assert imported(last) == "[]"


def test_what_does_import_ray_is_noticed() -> None:
    """The link's way to the cluster does, or the test above would prove nothing."""
    assert "'ray'" in imported("actors.link.attach")


def has_ray(pid: int) -> bool:
    """Whether any library of Ray is mapped into a process."""
    return "/site-packages/ray/" in Path(f"/proc/{pid}/maps").read_text()


@pytest.fixture
def nowhere() -> str:
    """An address at which no cluster answers, nor anybody else."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_link_alone_has_ray_and_may_die(tmp_path: Path, nowhere: str) -> None:
    """A whole edge without a cluster serves from its snapshot; its link is killed, again and again: no call notices."""
    with Upstream(lambda _: Answer(body=b"ok")) as upstream, linked(tmp_path, workers=2) as (plane, edge):
        plane.attend()
        plane.do(plane.region.credential("bare", "target", "none", None))
        plane.do(plane.region.sample(upstream.url, proxyTargetCredentialId="bare"))
        edge.wait_ready()
        assert edge.stop() == 0
        plane.leave()

        edge.with_link(ray_address=nowhere).start().wait_ready()
        assert edge.process is not None
        until(lambda: edge.children("exeat-link"), 10, "the link")
        link = edge.children("exeat-link")[0]
        until(lambda: has_ray(link), 20, "the link's Ray")
        servers = [edge.process.pid, *edge.children("exeat-worker"), *edge.children("exeat-keeper")]
        assert len(servers) == 4
        assert not [pid for pid in servers if has_ray(pid)]
        with Load(edge.port, keepalive=3, fresh=1) as load:
            load.wait(20)
            for _ in range(2):
                link = replaced(edge, link)
                load.wait(20)
        assert set(load.statuses()) == {200}
        assert load.refused == 0
        assert edge.ready()["link"] == "away"
        assert [edge.process.pid, *edge.children("exeat-worker"), *edge.children("exeat-keeper")] == servers


def replaced(edge: LinkedEdge, link: int) -> int:
    """Kills the link; its successor, which nobody called."""
    os.kill(link, signal.SIGKILL)
    until(lambda: edge.children("exeat-link") not in ([], [link]), 20, "another link")
    return edge.children("exeat-link")[0]


def test_workers_serve_on_while_links_come_and_go(tmp_path: Path) -> None:
    """A link that leaves takes nothing along: leases and policy stay, and what changed meanwhile comes with the next."""
    with Upstream(lambda _: Answer(body=b"ok")) as upstream, linked(tmp_path) as (plane, edge):
        plane.attend()
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        workers = edge.children("exeat-worker")
        rule = {"ruleId": "no", "effect": "deny", "path": {"pattern": "^/denied"}}
        with Load(edge.port, keepalive=3, fresh=1) as load:
            load.wait(20)
            for number in range(3):
                plane.leave()
                until(lambda: edge.ready()["link"] == "away", 5)
                plane.call("proxy", "proxy-one", rules=[{**rule, "ruleId": f"no-{number}"}])
                revision = plane.call("publish").revision
                load.wait(20)
                plane.attend()
                until(lambda revision=revision: edge.ready()["revision"] == revision, 10)
        assert set(load.statuses()) == {200}
        assert load.refused == 0
        assert edge.children("exeat-worker") == workers
        assert edge.get("/api/api/denied").status == 403
