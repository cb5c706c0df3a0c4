"""An installation for benchmarks: brought up as `exeat up` does, with the target's address opened, and filled through its API.

It stands in a directory of its own and ends with the block or the processes it was started with. It must never leave a
process behind, nor give it a port that something else has.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from models.home import Home
from models.secret import Secret
from proxy_edge.settings import environment
from scripts.bench import upstream
from scripts.bench.errors import PeerError
from scripts.bench.governance import Keys, new_keys
from scripts.bench.processes import Processes, free_ports
from scripts.first_run.demo import in_force
from scripts.up.environment import for_part
from scripts.up.part import exeat
from sdk import ExeatClient
from sdk.fields import Effect

REGIONS: Final = ("us-east-1", "eu-west-1")
_UP_SECONDS, _DOWN_SECONDS = 120.0, 60.0


class Launch(NamedTuple):
    """How an installation is started. base: the control API's port; the first region's edge has the next one."""

    base: int
    arguments: tuple[str, ...]
    environment: dict[str, str]

    @property
    def url(self) -> str:
        """Of the control API."""
        return f"http://127.0.0.1:{self.base}"


class Running(NamedTuple):
    """Where the API is, its owner's token, and the base URL of the target, which it may reach."""

    url: str
    token: str
    target_url: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What a proxy is joined of. key: what its callers show."""

    client_id: str
    region: str
    caller_id: str
    sender_id: str
    target_id: str
    key: Secret

    @property
    def joined(self) -> dict[str, Any]:
        """The arguments with which `proxies.create` joins them."""
        return {
            "region": self.region,
            "proxy_credential_ids": [self.caller_id],
            "target_id": self.target_id,
            "target_credential_id": self.sender_id,
        }


def launch(target_port: int, regions: Sequence[str], **settings: object) -> Launch:
    """On free ports, without the demo. settings: more variables, as of `for_part`. Errors: PeerError."""
    base = free_ports(1 + len(regions))
    arguments = ("--port-base", str(base), "--regions", ",".join(regions))
    variables = for_part(environment(), egress_allow=f"127.0.0.1:{target_port}", demo=False, **settings)
    return Launch(base, arguments, variables)


@contextlib.contextmanager
def installation(root: Path, target_port: int, regions: Sequence[str] = REGIONS) -> Iterator[tuple[str, str]]:
    """URL and owner's token of an installation in `root`, stopped with the block. Errors: PeerError."""
    how = launch(target_port, regions)

    def run(*arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            exeat(*arguments, "--home", str(root)),
            env=how.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    try:
        done = run("up", "--detach", *how.arguments, seconds=_UP_SECONDS)
        if done.returncode:
            raise PeerError(f"failed: exeat up: {done.stderr.strip()[-300:]}")
        yield how.url, owner_token(root)
    finally:
        run("down", seconds=_DOWN_SECONDS)


@contextlib.contextmanager
def with_target(regions: Sequence[str] = REGIONS) -> Iterator[Running]:
    """An installation and the benchmarks' target, both gone with the block, and their directory. Errors: PeerError."""
    with tempfile.TemporaryDirectory(prefix="exeat-bench-") as directory:
        work = Path(directory)
        with Processes(work) as processes:
            target = upstream.start(processes, work, new_keys(), frozenset())
            with installation(work / "home", target.port, regions) as (url, token):
                yield Running(url, token, f"http://127.0.0.1:{target.port}")


def owner_token(root: Path) -> str:
    """Of the installation in `root`, which has been ready."""
    return Home(root).owner_token.read_text().strip()


async def parts(
    api: ExeatClient,
    region: str,
    target_url: str,
    keys: Keys | None,
    *,
    name: str = "bench",
    effect: Effect = "allow",
) -> Parts:
    """A client with all that its proxies need. Errors: CallFailed.

    keys: None for a caller's key that the API makes, and a target that is sent no credential. effect: where no rule matches.
    """
    client = await api.clients.create(name=name)
    common: dict[str, Any] = {"region": region, "default_rule_effect": effect}
    given: dict[str, Any] = {} if keys is None else {"secret": {"key": keys.caller}}
    caller = await api.credentials.create(
        client.id,
        name="caller",
        type="proxy",
        auth_type="apiKey",
        **common,
        **given,
    )
    sender = await api.credentials.create(
        client.id,
        name="sender",
        type="target",
        auth_type="none" if keys is None else "bearer",
        secret={} if keys is None else {"token": keys.bearer},
        **common,
    )
    target = await api.targets.create(client.id, name="target", base_url=target_url, **common)
    key = caller.secret if keys is None else keys.caller
    assert key is not None, "the API makes one when none is given"
    return Parts(client.id, region, caller.id, sender.id, target.id, key)


async def until_in_force(api: ExeatClient, revision: int) -> None:
    """Returns once every edge has the change. Errors: CallFailed, PeerError."""
    if not await in_force(api, revision):
        raise PeerError("failed: the policy did not come into force")
