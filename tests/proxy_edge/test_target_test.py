"""A target tried out as a signed command asks: dialled, asked once, told by status and time, and nothing else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from models.custody.signing import Signed, Signer, Verifier
from models.egress import EgressAllow, EgressPolicy
from models.errors import CustodyError, LinkUnavailable, PeerUnavailable
from models.planes.documents import DocumentReader
from models.planes.feed import COMMAND, CommandResult
from models.secret import Secret
from proxy_edge.compiled import compile_known
from proxy_edge.dialler import Dialler
from proxy_edge.known import Known, Trusted
from proxy_edge.leases import LinkLeases
from proxy_edge.target_test import Commands
from proxy_edge.vault_client import VaultClient
from tests.kit.edge import TARGET_TOKEN, until
from tests.kit.edge_region import HOST_ID, REGION, EdgeRegion
from tests.kit.upstream import Answer, RawUpstream, Upstream

VIA = b"via: 1.1 exeat-test\r\n"


class Bench:
    """One worker's command runner, over a real vault and a real dialler. heard: of revocations, with each grant."""

    def __init__(
        self, region: EdgeRegion, allow: str = "127.0.0.0/8", *, heard: frozenset[str] = frozenset()
    ) -> None:
        self.region = region
        self.results: list[CommandResult] = []
        trusted = Trusted(REGION, Verifier(region.control.public), Verifier(region.identity.public))
        now = region.clock.wall_ms()
        assert region.sheet is not None
        self.known = Known.nothing(REGION).with_delta(region.state.full(), trusted, now)
        self.known = self.known.with_sheet(region.sheet, trusted)

        async def call(_role: str, _method: str, payload: bytes, _timeout: float) -> bytes:
            try:
                granted = await region.grant(payload)
            except PeerUnavailable as error:  # as the link's client says it
                raise LinkUnavailable(error.detail) from None
            leases.revoke(heard)
            return granted

        vault = VaultClient(call, region.host_identity, REGION, region.clock)
        leases = LinkLeases(vault.lease, region.clock)
        leases.govern(compile_known(self.known, Secret(b"p" * 32), now, DocumentReader()).terms)
        loop = asyncio.get_running_loop()
        self.commands = Commands(
            trusted.control,
            HOST_ID,
            leases=leases,
            dialler=Dialler(EgressPolicy(EgressAllow.parse(allow), []), clock=loop.time, connect_timeout=2.0),
            clock=region.clock,
            done=lambda payload: self.results.append(msgspec.msgpack.decode(payload, type=CommandResult)),
            via_line=VIA,
        )

    async def carry(self, credential: str | None = None, **fields: Any) -> CommandResult:
        await self.commands.carry(self.region.command(credential=credential, **fields), self.known)
        return self.results[-1]


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[EdgeRegion]:
    async with EdgeRegion(tmp_path).started() as region:
        yield region


async def test_test_path_is_asked_with_the_credential(region: EdgeRegion) -> None:
    """One GET of base path and test path; status and time come back, and nothing of the answer."""
    with Upstream(lambda _: Answer(status=204)) as upstream:
        await region.sample(upstream.url + "/base", target={"targetTestPath": "/ping?full=1"})
        result = await Bench(region).carry("sender")
    (seen,) = upstream.seen
    assert (seen.method, seen.target) == ("GET", "/base/ping?full=1")
    assert seen.get("authorization") == f"Bearer {TARGET_TOKEN}"
    assert seen.get("via") == "1.1 exeat-test"
    assert seen.get("host") == upstream.url.removeprefix("http://")
    assert (result.status, result.code, result.edge) == (204, None, HOST_ID)
    assert result.duration_ms is not None
    assert 0 < result.duration_ms < 10_000


async def test_without_credential_nothing_is_leased(region: EdgeRegion) -> None:
    """The root is asked when there is no test path."""
    with Upstream() as upstream:
        await region.sample(upstream.url)
        region.asked.clear()
        result = await Bench(region).carry()
    assert (result.status, region.asked) == (200, [])
    assert (upstream.seen[0].target, upstream.seen[0].get("authorization")) == ("/", None)


async def test_credential_in_the_query_stands_behind_the_paths(region: EdgeRegion) -> None:
    """As on a proxied call."""
    with Upstream() as upstream:
        await region.credential("querying", "target", "apiKey", {"key": "x" * 20, "in": "query", "name": "k"})
        await region.sample(upstream.url, target={"targetTestPath": "/p?a=1"})
        await Bench(region).carry("querying")
    assert upstream.seen[0].target == "/p?a=1&k=" + "x" * 20


async def test_redirect_is_an_answer(region: EdgeRegion) -> None:
    """It is not followed."""
    with Upstream(lambda _: Answer(status=302, headers=[("location", "/elsewhere")])) as upstream:
        await region.sample(upstream.url)
        assert (await Bench(region).carry()).status == 302
        assert len(upstream.seen) == 1


async def test_target_with_its_own_authority(region: EdgeRegion) -> None:
    """TLS is verified with the target's CA, and refused without."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Upstream(tls=context) as upstream:
        pem = authority.cert_pem.bytes().decode()
        await region.sample(upstream.url, target={"targetCA": pem})
        region.target("untrusted", upstream.url)
        region.publish()
        bench = Bench(region)
        assert (await bench.carry()).status == 200
        assert (await bench.carry(target="untrusted")).code == "target-unreachable"


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)
    writer.write(b"nonsense\r\n\r\n")
    await writer.drain()


async def closing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)


@pytest.mark.parametrize(
    ("session", "code"),
    [(silent, "target-timeout"), (nonsense, "target-invalid"), (closing, "target-unreachable")],
)
async def test_target_that_does_not_answer(
    region: EdgeRegion,
    session: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    code: str,
) -> None:
    """Told by the code that a caller would get."""
    with RawUpstream(session) as upstream:
        await region.sample(upstream.url, target={"targetTimeoutMs": 100})
        result = await Bench(region).carry()
    assert (result.status, result.code, result.duration_ms) == (None, code, None)


async def test_target_that_may_not_be_reached(region: EdgeRegion) -> None:
    """The checked dialler is the same as for calls."""
    with Upstream() as upstream:
        await region.sample(upstream.url)
        assert (await Bench(region, allow="").carry()).code == "target-forbidden"
        assert upstream.connections == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"target": "nowhere"}, "policy-unavailable"),
        ({"client_id": "another"}, "policy-unavailable"),
        ({"credential": "nobody"}, "credential-unavailable"),
        ({"credential": "caller"}, "credential-unavailable"),
        ({"credential": "gone"}, "credential-unavailable"),
    ],
)
async def test_what_is_not_there_or_anothers(region: EdgeRegion, fields: dict[str, Any], code: str) -> None:
    """An unknown target, another client's, a credential of the wrong side, unknown or revoked: nothing is dialled."""
    with Upstream() as upstream:
        await region.credential("gone", "target", "bearer", {"token": TARGET_TOKEN})
        await region.sample(upstream.url)
        await region.revoke("gone")
        assert (await Bench(region).carry(**fields)).code == code
        assert upstream.connections == 0


async def test_credential_that_is_revoked_between_lease_and_send(region: EdgeRegion) -> None:
    """It was live when the command came; nothing is sent with it any more."""
    with Upstream() as upstream:
        await region.sample(upstream.url)
        bench = Bench(region, heard=frozenset({"sender"}))
        assert (await bench.carry("sender")).code == "credential-unavailable"
        await asyncio.to_thread(until, lambda: upstream.connections and not upstream.open, 5, "dial")
        assert upstream.seen == []


async def test_vault_that_is_away(region: EdgeRegion) -> None:
    """No lease, no request."""
    with Upstream() as upstream:
        await region.sample(upstream.url)
        bench = Bench(region)
        region.away = True
        assert (await bench.carry("sender")).code == "credential-unavailable"
        assert upstream.connections == 0


@pytest.mark.parametrize("change", ["signer", "purpose", "region", "past", "far", "kind", "twice", "text"])
async def test_command_that_must_not_be_believed(region: EdgeRegion, change: str) -> None:
    """Another signer or purpose, another region, past its time or far ahead, unknown, a second time: not carried out."""
    with Upstream() as upstream:
        await region.sample(upstream.url)
        bench = Bench(region)
        now = region.clock.wall_ms()
        good = region.command()
        signed = {
            "signer": Signer(Signer.new_private()).sign(COMMAND, good.statement),
            "purpose": region.control.sign("manifest", good.statement),
            "region": region.command(region="eu-west-1"),
            "past": region.command(expires_ms=now),
            "far": region.command(expires_ms=now + 3_600_000),
            "kind": region.command(kind="rotateKeys"),
            "twice": good,
            "text": region.control.sign(COMMAND, b"nonsense"),
        }[change]
        if change == "twice":
            await bench.commands.carry(signed, bench.known)
        asked = len(upstream.seen)
        await bench.commands.carry(signed, bench.known)
        assert len(upstream.seen) == asked
        assert len(bench.results) == asked
        with pytest.raises(CustodyError):
            bench.commands.read(Signed(signed.statement, signed.signature), REGION)
