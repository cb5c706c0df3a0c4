"""A small control plane for tests: signs region state as the real one, and serves feed and uplink over loopback HTTP.

It can also be hostile: what it answers to the next polls can be put in its place, signed or not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from models.custody.orders import Order, Revoke, sign_order
from models.custody.sheet import CERTIFICATE, SHEET, Certificate, Sheet
from models.custody.signing import Signed, Signer
from models.errors import PeerUnavailable
from models.planes.calls import ListenRequest, Obeyed, Orders
from models.planes.feed import COMMAND, Command, FeedAnswer, Uplink
from models.planes.state import MANIFEST, Delta, Document, Manifest, root

REGION = "us-east-1"
KEY = "r-region-key-of-the-tests"


def document(kind: str, name: str, revision: int, **fields: Any) -> Document:
    """One document with these fields."""
    return Document(kind, name, revision, msgspec.json.encode({f"{kind}Id": name, **fields}))


def sign_state(
    signer: Signer,
    documents: Iterator[Document] | list[Document],
    revision: int,
    *,
    region: str = REGION,
    at: int,
) -> Signed:
    """A manifest that vouches for `documents`."""
    found = Manifest(region, revision, root(documents), at)
    return signer.sign(MANIFEST, msgspec.json.encode(found))


class Plane:
    """One region's policy and its signing key. `issued_ms` goes up by one with every manifest."""

    def __init__(self, region: str = REGION, signer: Signer | None = None) -> None:
        self.region, self.signer = region, signer or Signer(Signer.new_private())
        self.documents: dict[tuple[str, str], Document] = {}
        self.revision, self.issued_ms = 0, 1_000_000
        self.past: dict[int, dict[tuple[str, str], Document]] = {0: {}}
        self.orders: list[tuple[int, Order]] = []

    def change(
        self, *documents: Document, deletes: tuple[tuple[str, str], ...] = (), orders: tuple[Order, ...] = ()
    ) -> int:
        """One more revision."""
        self.revision += 1
        for key in deletes:
            del self.documents[key]
        for one in documents:
            self.documents[one.kind, one.id] = one
        self.past[self.revision] = dict(self.documents)
        self.orders += [(self.revision, order) for order in orders]
        return self.revision

    def put(self, kind: str, name: str, **fields: Any) -> int:
        """One more revision, in which this document is as given."""
        return self.change(document(kind, name, self.revision + 1, **fields))

    def manifest(self, **changes: Any) -> Signed:
        """Of the state now, issued now."""
        self.issued_ms += 1
        options = {"region": self.region, "at": self.issued_ms, **changes}
        revision = options.pop("revision", self.revision)
        return sign_state(self.signer, list(self.documents.values()), revision, **options)

    def delta(self, after: int) -> Delta:
        """What leads from revision `after` to now; everything after one that never was."""
        if after <= 0 or after not in self.past:
            return Delta(0, tuple(self.documents.values()), (), self.manifest())
        old = self.past[after]
        upserts = tuple(one for key, one in self.documents.items() if old.get(key) != one)
        deletes = tuple(key for key in old if key not in self.documents)
        return Delta(after, upserts, deletes, self.manifest())

    def answer(self, after: int) -> FeedAnswer:
        """What the feed says after a revision."""
        fresh = [order for revision, order in self.orders if revision > after]
        if after < 0:
            fresh = [order for order in fresh if isinstance(order, Revoke)]
        orders = tuple(sign_order(order, self.signer) for order in fresh)
        if after == self.revision:
            return FeedAnswer(manifest=self.manifest(), orders=orders)
        delta = self.delta(after)
        return FeedAnswer(manifest=delta.manifest, delta=delta, orders=orders)

    def command(self, name: str, *, expires_ms: int, region: str | None = None) -> Signed:
        """A signed command."""
        command = Command(
            id=name,
            kind="testTarget",
            region=region or self.region,
            client_id="cli_1",
            target_id="tgt_1",
            credential_id=None,
            expires_ms=expires_ms,
        )
        return self.signer.sign(COMMAND, msgspec.msgpack.encode(command))


Say = Callable[[int], FeedAnswer | bytes | int]
"""Given `after`: an answer, raw bytes to answer with 200, or a status."""


class FeedServer:
    """Serves a Plane's feed on 127.0.0.1 and keeps what it was asked and told."""

    def __init__(self, plane: Plane) -> None:
        self.plane, self.say = plane, self._honest
        self.polls: list[int] = []
        self.waits: list[float] = []
        self.keys: list[str] = []
        self.uplinks: list[Uplink] = []
        self.commands: list[Signed] = []
        self.uplink_status, self.uplink_body = 204, b""
        self.hold = True
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def start(self, port: int = 0) -> str:
        """Listens; the base URL."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return self.url

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Ends, with all connections."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._connections.values()):
            writer.transport.abort()
        self._news.set()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def wake(self) -> None:
        """Ends the wait of the polls under way."""
        self._news.set()

    @property
    def acknowledged(self) -> int:
        """The highest revision that was acknowledged."""
        return max(self.polls, default=-1)

    def _honest(self, after: int) -> FeedAnswer:
        answer = self.plane.answer(after)
        commands, self.commands = tuple(self.commands), []
        return msgspec.structs.replace(answer, commands=commands)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self._exchange(reader, writer)
        finally:
            del self._connections[task]
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.keys.append(headers.get("authorization", ""))
        url = urlsplit(target)
        if headers.get("authorization") != KEY or not url.path.startswith(
            f"/v1/regions/{self.plane.region}/"
        ):
            status, answer = 401, b""
        elif method == "POST":
            self.uplinks.append(msgspec.json.decode(body, type=Uplink))
            status, answer = self.uplink_status, self.uplink_body
        else:
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            status, answer = await self._feed(int(query["after"]), float(query["wait"]))
        length = b"" if status == 204 else b"content-length: %d\r\n" % len(answer)
        writer.write(
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%b\r\n%b" % (status, length, answer)
        )
        await writer.drain()

    async def _feed(self, after: int, wait: float) -> tuple[int, bytes]:
        self.polls.append(after)
        self.waits.append(wait)
        if self.say == self._honest and self.hold and after == self.plane.revision and not self.commands:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), wait)
        said = self.say(after)
        if isinstance(said, int):
            return said, b"{}"
        return 200, said if isinstance(said, bytes) else msgspec.json.encode(said)

    def honest(self) -> None:
        """Back to telling the truth."""
        self.say = self._honest


class Vault:
    """A stand-in for the region's vault: keeps the orders it obeyed and signs sheets; `away` makes it fail."""

    def __init__(self, region: str = REGION) -> None:
        self.region, self.identity = region, Signer(Signer.new_private())
        self.public = bytes(range(32))
        self.number = 1
        self.away = False
        self.revoked: tuple[str, ...] = ()
        self.failing: dict[str, str] = {}
        self.obeyed: list[Signed] = []
        self.asked = 0
        self.before: Callable[[], Awaitable[None]] | None = None

    async def obey(self, orders: Orders) -> Obeyed:
        """As the real one, as far as the registry can tell."""
        self.asked += 1
        if self.before is not None:
            await self.before()
        if self.away:
            raise PeerUnavailable("the vault is away")
        self.obeyed += orders.orders
        return Obeyed(self.sheet(), self.certificate(), self.failing if orders.orders else {})

    def sheet(self) -> Signed:
        """The sheet as it is now."""
        sheet = Sheet(self.region, self.number, "pepper", (), self.revoked)
        return self.identity.sign(SHEET, msgspec.msgpack.encode(sheet))

    def certificate(self) -> Signed:
        """The certificate as it is now."""
        return self.identity.sign(
            CERTIFICATE, msgspec.msgpack.encode(Certificate(self.region, self.public, 1))
        )


def question(**changes: Any) -> ListenRequest:
    """A link's question; it has nothing unless told."""
    fields: dict[str, Any] = {"link": "l1", "edge": "e1", "revision": -1, "sheet": -1, "issued_ms": 0}
    return ListenRequest(**(fields | changes))


def ids(core: Any) -> set[str]:
    """Ids of the documents that the core has."""
    return {one.id for one in core.state.documents.values()}
