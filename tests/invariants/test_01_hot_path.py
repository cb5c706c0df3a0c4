"""Invariant 1: the hot path answers from memory.

A governed request with warm leases makes no task, no future, no timer and no call into another thread, opens
no connection and touches no file; and no process of the edge even has the libraries for more than that.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy_edge.client import ClientConnection
from tests.kit.edge import CALLER_KEY, policy
from tests.kit.memory import MemoryEdge, MemoryTransport, settle
from tests.kit.raw import get, request

ROOT = Path(__file__).resolve().parents[2]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + b'{"ok":true}'


def rules(scope: str) -> list[dict[str, Any]]:
    """Ten rules that deny what nobody asks for."""
    return [
        {"ruleId": f"{scope}-{number}", "effect": "deny", "path": {"pattern": f"^/never-{scope}-{number}$"}}
        for number in range(10)
    ]


class Spy:
    """Counts what the hot path must not do: uses of the loop, and everything that Python audits.

    Those are files, sockets, processes, threads, locks on files, imports, sleeps (PEP 578).
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.watching = False
        sys.addaudithook(self._audited)

    def _audited(self, event: str, _arguments: object) -> None:
        if self.watching:
            self.calls[event] += 1

    @contextmanager
    def on(self, loop: asyncio.AbstractEventLoop) -> Iterator[Counter[str]]:
        """Counts while the block runs. The loop goes on doing what it does."""
        self.calls.clear()
        for name in LOOP_METHODS:
            setattr(loop, name, self._counted(name, getattr(loop, name)))
        self.watching = True
        try:
            yield self.calls
        finally:
            self.watching = False
            for name in LOOP_METHODS:
                delattr(loop, name)

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return real(*arguments, **options)

        return counted


LOOP_METHODS = (
    "create_task",
    "create_future",
    "call_soon",
    "call_soon_threadsafe",
    "call_later",
    "call_at",
    "run_in_executor",
    "create_connection",
    "getaddrinfo",
)


@pytest.fixture(scope="module")
def spy() -> Spy:
    return Spy()  # an audit hook stays for the life of the process, so there is one


Step = Callable[[], None]


async def governed(
    tmp_path: Path, data: bytes, **target: Any
) -> tuple[Step, MemoryTransport, MemoryTransport]:
    """A warm edge; a step that sends `data` and answers it; what went to the caller, what to the target."""
    edge = MemoryEdge(
        tmp_path,
        policy(
            "http://target.test/base",
            caller={"rules": rules("caller")},
            sender={"rules": rules("sender")},
            rules=rules("proxy"),
            target={"rules": rules("target"), **target},
            proxyMaxRequestsPerMinute=1_000_000,
            proxyMaxRequestsPerDay=1_000_000,
        ),
    )
    client, transport = ClientConnection(edge.edge), MemoryTransport()
    client.connection_made(transport)
    client.data_received(get("/api/api/warm"))
    await settle()
    [(upstream, line)] = edge.dialler.connections
    upstream.data_received(OK)
    assert transport.take().startswith(b"HTTP/1.1 200 ")
    line.take()

    def step() -> None:
        client.data_received(data)
        if upstream.exchange is not None:
            upstream.data_received(OK)

    step()
    transport.take()
    line.take()
    return step, transport, line


@pytest.mark.parametrize(
    ("data", "status", "sent"),
    [
        (get("/api/api/items/42?a=b", "User-Agent: x"), b"200", True),
        (request("POST", "/api/api/items", body=b"x" * 1000), b"200", True),
        (get("/api/api/never-target-7"), b"403", False),
        (get("/api/api/items", key=CALLER_KEY[:-1] + "x"), b"401", False),
        (get("/api/nobody/items"), b"404", False),
    ],
    ids=["granted", "with body", "denied", "rejected", "unknown"],
)
@pytest.mark.parametrize("scrub", ["full", "headers", "off"])
async def test_request_makes_nothing_but_bytes(
    tmp_path: Path, spy: Spy, data: bytes, status: bytes, scrub: str, *, sent: bool
) -> None:
    """Authenticated, judged by forty rules, limited, injected, forwarded, scrubbed, recorded: all in two callbacks."""
    step, transport, line = await governed(tmp_path, data, targetScrub=scrub)
    with spy.on(asyncio.get_running_loop()) as calls:
        for _ in range(50):
            step()
    assert not calls
    assert transport.take().count(b"HTTP/1.1 " + status) == 50
    assert (line.take().count(b"HTTP/1.1\r\n") == 50) is sent


async def test_spy_sees_what_it_looks_for(tmp_path: Path, spy: Spy) -> None:
    """The same watch finds the dial of a cold request, and a file that is looked into: it is not blind."""
    edge = MemoryEdge(tmp_path, policy("http://target.test"))
    client = ClientConnection(edge.edge)
    client.connection_made(MemoryTransport())
    with spy.on(asyncio.get_running_loop()) as calls:
        client.data_received(get("/api/api/cold"))
        edge.records.read_bytes()
    assert calls["create_task"] == 1
    assert calls["open"] == 1
    await settle()


FOREIGN = ("ray", "motor", "pymongo", "httpx", "requests", "aiohttp", "grpc", "sqlite3", "spacy")
"""What would make a call to another plane, a store or anything else possible."""

PROGRAM = """
import importlib, json, pkgutil, sys
import proxy_edge
for module in pkgutil.walk_packages(proxy_edge.__path__, "proxy_edge."):
    importlib.import_module(module.name)
edge = sorted(sys.modules)
import scripts.cli
print(json.dumps([edge, sorted(sys.modules)]))
"""


def test_edge_imports_no_library_that_calls_elsewhere() -> None:
    """With every module of the edge and its command line loaded there is no Ray, store, HTTP client or NER in the
    process; and of the other parts the edge has the link's client alone.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    edge, loaded = map(set, json.loads(done.stdout))
    assert "proxy_edge.worker" in edge
    assert {name.partition(".")[0] for name in loaded} & set(FOREIGN) == set()
    ours = {name for name in edge if name.partition(".")[0] in {"actors", "store", "control_api", "sdk"}}
    assert ours == {"actors", "actors.link_client"}
