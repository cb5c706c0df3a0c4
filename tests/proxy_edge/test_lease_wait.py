"""An exchange that waits for its lease: what the caller gets when it comes, does not, or the policy changes meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.policy import LeaseKey
from proxy_edge.client import ClientConnection
from proxy_edge.edge import Bundle
from tests.kit.edge import policy
from tests.kit.edge_region import until
from tests.kit.leases import SECOND, Table
from tests.kit.memory import MemoryEdge, MemoryTransport, bundle, settle
from tests.kit.raw import get, request

KEY: LeaseKey = ("sender", "http", "target.test", 80)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Talk:
    """One caller at an edge whose leases come from a vault that is told what to do."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.folder = folder
        self.memory = MemoryEdge(folder, policy("http://target.test", proxyMaxRequestsPerMinute=5, **fields))
        self.table = Table(KEY)
        self.edge = self.memory.edge
        self.edge.apply(Bundle(self.edge.policy, self.table.leases))
        self.connection, self.transport = ClientConnection(self.edge), MemoryTransport()
        self.connection.connection_made(self.transport)

    def change(self, **fields: Any) -> None:
        """Another policy comes into force."""
        document = policy("http://target.test", proxyMaxRequestsPerMinute=5, **fields)
        self.table.govern()
        self.edge.apply(Bundle(bundle(self.folder / "other", document).policy, self.table.leases))

    async def answer(self) -> bytes:
        """The target answers 200 to whoever was sent something; what the caller got."""
        await settle()
        for upstream, _ in self.memory.dialler.connections:
            if upstream.exchange is not None:
                upstream.data_received(OK)
        return self.transport.take()

    @property
    def sent(self) -> bytes:
        return b"".join(bytes(line.written) for _, line in self.memory.dialler.connections)

    @property
    def remaining(self) -> int:
        """Permits left in the minute."""
        limits = self.edge.policy.proxies[b"api"].limits  # type: ignore[union-attr]  # it compiles
        return self.edge.permits.look(limits, self.edge.clock.wall_ms())[0]


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    talk = Talk(tmp_path)
    yield talk
    talk.memory.permits.close()
    talk.edge.stats.close()


async def test_first_request_waits_and_is_sent(talk: Talk) -> None:
    """Nothing is dialled before the lease is there; then it goes on as if it had been."""
    talk.table.vault.open.clear()
    talk.connection.data_received(get("/api/api/x"))
    await settle()
    assert (talk.memory.dialler.connections, talk.transport.take()) == ([], b"")
    talk.table.vault.open.set()
    await until(lambda: talk.sent)
    assert b"a: secret-of-sender\r\n" in talk.sent
    assert (await talk.answer()).startswith(b"HTTP/1.1 200 ")
    talk.connection.data_received(get("/api/api/x"))
    assert (await talk.answer()).startswith(b"HTTP/1.1 200 ")
    assert talk.table.vault.asked == [["sender"]]


async def test_refused_lease_is_503_and_costs_no_permit(talk: Talk) -> None:
    """`credential-unavailable`, at once, and the next request on the connection is served."""
    talk.table.vault.denied["sender"] = "unknown"
    talk.connection.data_received(get("/api/api/x"))
    await until(lambda: talk.transport.written)
    answer = talk.transport.take()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"exeat-proxy-code: credential-unavailable\r\n" in answer
    assert (talk.remaining, talk.memory.dialler.connections) == (5, [])
    await talk.memory.drain()
    assert json.loads(talk.memory.records.read_bytes())["code"] == "credential-unavailable"


async def test_continue_is_not_promised_before_the_lease(talk: Talk) -> None:
    """A caller that asks first is told to go on once nothing stands in the way."""
    talk.table.vault.open.clear()
    whole = request("POST", "/api/api/x", "Expect: 100-continue", body=b"body")
    head = whole[: whole.index(b"\r\n\r\n") + 4]
    talk.connection.data_received(head)
    await settle()
    assert talk.transport.take() == b""
    talk.table.vault.open.set()
    await until(lambda: talk.transport.written)
    assert talk.transport.take() == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"proxyActive": False}, b"403"),
        ({"proxyDefaultRuleEffect": "deny"}, b"403"),
        ({"caller": {"credentialExpiresAt": "2001-01-01T00:00:00Z"}}, b"401"),
        ({}, b"200"),
    ],
    ids=["inactive", "denied", "expired", "as before"],
)
async def test_policy_that_changes_meanwhile_is_heeded(
    talk: Talk, change: dict[str, Any], status: bytes
) -> None:
    """After the wait for a lease the request is judged again by what holds then."""
    talk.table.vault.open.clear()
    talk.connection.data_received(get("/api/api/x"))
    await settle()
    talk.change(**change)
    talk.table.vault.open.set()
    await until(lambda: talk.transport.written or talk.sent)
    assert (await talk.answer()).split(b" ")[1] == status
    assert (b"secret" in talk.sent) is (status == b"200")
    assert talk.remaining == (4 if status == b"200" else 5)


async def test_revoked_while_it_waits_for_the_lease(talk: Talk) -> None:
    """Its request is refused, and what the vault had on its way is not used."""
    talk.table.vault.open.clear()
    talk.connection.data_received(get("/api/api/x"))
    await settle()
    talk.table.leases.revoke(frozenset({"sender"}))
    talk.change()
    await until(lambda: talk.transport.written)
    talk.table.vault.open.set()
    await settle()
    assert talk.transport.take().startswith(b"HTTP/1.1 503 ")
    assert (talk.sent, len(talk.table.leases)) == (b"", 0)


@pytest.mark.parametrize("end", ["revoked", "over"])
async def test_lease_that_ends_during_the_dial_is_not_sent(talk: Talk, end: str) -> None:
    """What was waited for took its time: the lease is looked at once more before anything is sent."""
    await talk.table.had()
    talk.connection.data_received(get("/api/api/x"))
    assert talk.sent == b""
    if end == "revoked":
        talk.table.leases.revoke(frozenset({"sender"}))
    else:
        talk.table.clock.ns += 60 * SECOND
        talk.table.vault.denied["sender"] = "expired"
    await until(lambda: talk.transport.written)
    assert talk.transport.take().startswith(b"HTTP/1.1 503 ")
    assert (len(talk.memory.dialler.connections), talk.sent) == (1, b"")


async def test_caller_who_leaves_waits_no_more(talk: Talk) -> None:
    """Its record says so, its permit is free, and the lease that comes is for the next one."""
    talk.table.vault.open.clear()
    talk.connection.data_received(get("/api/api/x"))
    await settle()
    talk.connection.connection_lost(None)
    assert talk.remaining == 5
    talk.table.vault.open.set()
    await until(lambda: len(talk.table.leases) == 1)
    assert talk.sent == b""
    await talk.memory.drain()
    assert json.loads(talk.memory.records.read_bytes())["status"] == 499


async def test_deadline_of_the_wait(talk: Talk) -> None:
    """Should the table forget to decide, the connection's own deadline does."""
    talk.table.vault.open.clear()
    talk.connection.data_received(get("/api/api/x"))
    await settle()
    assert talk.connection.deadline == talk.edge.now + 8
    talk.connection.deadline_passed()
    answer = talk.transport.take()
    assert b"exeat-proxy-code: credential-unavailable\r\n" in answer
    talk.table.vault.open.set()
    await settle()
    assert talk.transport.take() == b""


async def test_query_names_are_withheld_also_without_a_lease(talk: Talk) -> None:
    """A denied call's record has no value of a parameter that the target's credential sets."""
    talk.table.govern(names={"sender": frozenset({b"appid"})})
    talk.table.vault.denied["sender"] = "unknown"
    talk.connection.data_received(get("/api/api/x?appid=canary&b=1"))
    await until(lambda: talk.transport.written)
    await talk.memory.drain()
    assert json.loads(talk.memory.records.read_bytes())["query"] == "appid=***&b=1"
