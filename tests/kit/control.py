"""Real `exeat control` processes over homes that are prepared as `exeat up` does it, and a region that follows over HTTP.

No Ray and no edge: what actors would do with the region's keys, `WireRegion` does. A home may be copied while
nothing runs in it, and have several control processes at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import msgspec

from control_api.layout import LAYOUT, MIGRATIONS
from control_api.ledger.change import Change
from control_api.ledger.crash import Crash
from control_api.ledger.kept import Kept
from control_api.ledger.ledger import rebuild
from control_api.ledger.log import Log
from control_api.ledger.projection import Projection
from models.custody.orders import Order, Put, read_order
from models.custody.sealing import Opener
from models.custody.sheet import CERTIFICATE, Certificate
from models.custody.signing import Signer, Verifier
from models.home import Home
from models.planes.feed import FeedAnswer, Uplink
from models.planes.state import RegionState
from models.secret import Secret
from scripts.up import enrol
from scripts.up.bootstrap import bootstrap
from scripts.up.environment import for_part
from scripts.up.part import exeat
from store.choose import open_store
from tests.kit.edge import until

REGION = "us-east-1"


class Found(NamedTuple):
    """What a store holds. kept: the projection as it was written down; rebuilt: what the log alone gives."""

    changes: list[Change]
    kept: Projection
    rebuilt: Projection

    def of(self, resource_id: str) -> list[Change]:
        """The changes of one resource, oldest first."""
        return [change for change in self.changes if any(item.id == resource_id for item in change.items)]


class ControlHome:
    """A home with keys, owner and regions. Nothing runs in it until `running`."""

    def __init__(self, root: Path, regions: Sequence[str] = (REGION,)) -> None:
        self.root, self.home = root, Home(root)
        self.regions = tuple(regions)
        enrol.make_keys(self.home, self.regions)
        bootstrap(self.home, dict.fromkeys(self.regions, "http://127.0.0.1:1"))

    def copy(self, root: Path) -> ControlHome:
        """The same home once more. Nothing may run in this one."""
        shutil.copytree(self.root, root)
        return ControlHome(root, self.regions)

    @property
    def token(self) -> str:
        """The owner's."""
        return self.home.owner_token.read_text().strip()

    @contextlib.contextmanager
    def running(self, **settings: object) -> Iterator[ControlProcess]:
        """A control process, which is ended with the block. settings: field `x_y` is EXEAT_X_Y."""
        process = ControlProcess(self, settings)
        try:
            yield process.start()
        finally:
            process.close()

    def read(self) -> Found:
        """Everything that the store holds now, whoever has it open besides."""
        with ThreadPoolExecutor(1) as thread:  # the caller may be in an event loop
            return thread.submit(asyncio.run, self._read()).result()

    async def _read(self) -> Found:
        store = await open_store(self.home.control_store, LAYOUT, migrations=MIGRATIONS)
        try:
            changes: list[Change] = []
            log = Log(store)
            while found := await log.after(len(changes)):
                changes += found
            return Found(changes, await Kept(store, Crash()).load(), await rebuild(store))
        finally:
            await store.close()


class ControlProcess:
    """One `exeat control` on a free port. http: a client of the API's `/v1` with the owner's token."""

    def __init__(self, home: ControlHome, settings: dict[str, object]) -> None:
        self._home, self._settings = home, settings
        self.url = ""
        self.http: httpx.Client

    def start(self) -> Self:
        """Returns when it is ready."""
        variables = for_part(os.environ, home=self._home.root, port=0, log_stderr=False, **self._settings)
        with (self._home.root / "logs" / "control.err").open("ab") as errors:
            self.process = subprocess.Popen(
                exeat("control"),
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode()
        assert said.startswith("control ready: "), (self._home.root / "logs" / "control.err").read_text()
        self.url = said.split()[-1]
        self.http = httpx.Client(base_url=f"{self.url}/v1", headers=self.headers, timeout=30, trust_env=False)
        return self

    @property
    def headers(self) -> dict[str, str]:
        """Say that the owner calls."""
        return {"authorization": self._home.token}

    def caller(self) -> httpx.AsyncClient:
        """A client for event loops."""
        return httpx.AsyncClient(
            base_url=f"{self.url}/v1", headers=self.headers, timeout=30, trust_env=False, limits=_MANY
        )

    def killed(self) -> None:
        """Returns when it has ended by SIGKILL; fails when it ends otherwise, or not at all."""
        assert self.process.wait(30) == -signal.SIGKILL

    def close(self) -> None:
        """Ends it, unless it has ended; it must stop as it was asked to."""
        if self.process.stdout is None:
            return
        if hasattr(self, "http"):
            self.http.close()
        try:
            if self.process.poll() is None:
                self.process.terminate()
                assert self.process.wait(30) == 0
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(10)
            self.process.stdout.close()


_MANY = httpx.Limits(max_connections=64, max_keepalive_connections=64)


class WireRegion:
    """A region that follows its feed, verifies, and acknowledges; with the keys that its actors would have.

    state: the documents it has. orders: every order it was given, once for each time.
    """

    def __init__(self, home: Home, region: str = REGION) -> None:
        files = home.region(region)
        self.region = region
        self._key = files.key.read_text().strip()
        self._identity = Signer(Secret(bytes.fromhex(files.vault_key.read_text().strip())))
        self._control = Verifier(bytes.fromhex(files.control_public.read_text().strip()))
        self.opener = Opener(Opener.new_private())
        self.state = RegionState.empty(region)
        self.orders: list[Order] = []
        self.revisions: list[int] = []

    def copy(self) -> WireRegion:
        """One that knows the same, for a copy of the home."""
        twin = WireRegion.__new__(WireRegion)
        twin.__dict__ |= self.__dict__ | {"orders": [*self.orders], "revisions": [*self.revisions]}
        return twin

    def announce(self, url: str) -> None:
        """Tells the control plane the key that secrets are sealed to."""
        statement = Certificate(self.region, self.opener.public, time.time_ns() // 1_000_000)
        signed = self._identity.sign(CERTIFICATE, msgspec.msgpack.encode(statement))
        with self._http(url) as http:
            body = msgspec.json.encode(Uplink(certificate=signed))
            assert http.post("/uplink", content=body).status_code == httpx.codes.NO_CONTENT

    def turn(self, http: httpx.Client, wait: float = 0.0) -> FeedAnswer:
        """Asks once, which acknowledges what it has, and takes over what it is told. Raises httpx.TransportError."""
        answer = http.get("/feed", params={"after": self.state.revision, "wait": wait})
        answer.raise_for_status()
        found = msgspec.json.decode(answer.content, type=FeedAnswer)
        self.orders += [read_order(signed, self._control) for signed in found.orders]
        if found.delta is None:
            self.state = self.state.refresh(found.manifest, self._control)
        else:
            self.state = self.state.apply(found.delta, self._control)
            self.revisions.append(self.state.revision)
        return found

    @contextlib.contextmanager
    def following(self, url: str) -> Iterator[None]:
        """Follows for as long as the block lasts, or the API does. Fails at its end when it was told wrong things."""
        stop, failures = threading.Event(), list[BaseException]()

        def follow() -> None:
            try:
                with self._http(url) as http:
                    while not stop.is_set():
                        self.turn(http, wait=1.0)
            except httpx.HTTPError:
                pass  # the API has ended: tests do that
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test must hear of it
                failures.append(error)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
        assert failures == []

    def settled(self, revision: int) -> None:
        """Returns once it has a revision, while `following`."""
        until(lambda: self.state.revision >= revision, 20, f"revision {revision} in the region")

    def puts(self, credential_id: str) -> list[Put]:
        """The orders to keep a secret of this credential."""
        found = [order for order in self.orders if isinstance(order, Put)]
        return [order for order in found if order.binding.credential_id == credential_id]

    def secret(self, order: Put) -> Any:
        """What the vault would find in an order: the envelope, plain."""
        return msgspec.json.decode(self.opener.open(order.sealed, order.binding).reveal())

    def _http(self, url: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"{url}/v1/regions/{self.region}",
            headers={"authorization": self._key},
            timeout=30,
            trust_env=False,
        )
