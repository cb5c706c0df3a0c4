"""`python -m scripts.bench.propagation`: how soon a change made through the API is in force at the edge.

One installation in a directory of its own, as `exeat up` starts it; a proxy is switched off and on, and called
after each answer until a call shows it. It must never leave a process behind, also when it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import httpx

from models.clock import SystemClock, iso_ms
from models.home import Home
from proxy_edge.settings import environment
from scripts.bench import machine, upstream
from scripts.bench.errors import LoadError, PeerError
from scripts.bench.governance import LOAD_PATH, new_keys
from scripts.bench.processes import Processes, free_ports
from scripts.up.environment import for_part
from scripts.up.part import exeat
from sdk import CallFailed, ExeatClient, Proxy

REGIONS: Final = ("us-east-1", "eu-west-1")
CHANGES: Final = 200
WARM_UP: Final = 5
GIVEN_UP_SECONDS: Final = 10.0
TARGET_SECONDS: Final = 1.0
"""What is aimed at, from the answer to a change on."""
_UP_SECONDS, _DOWN_SECONDS = 120.0, 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One change. wrote: milliseconds until the API answered; enforced: from then until a call showed it."""

    wrote: float
    enforced: float
    applied: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds over all samples, and how many answers were not `applied`. Enforced: after the answer."""

    changes: int
    pending: int
    wrote_p50: float
    wrote_p99: float
    enforced_p50: float
    enforced_p99: float
    enforced_most: float

    @property
    def meets_target(self) -> bool:
        """Whether all changes were in force in time."""
        return self.enforced_p99 <= TARGET_SECONDS * 1000 and not self.pending


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: the least value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figures(samples: Sequence[Sample]) -> Figures:
    """What the samples say together; there must be one at least."""
    wrote, enforced = [one.wrote for one in samples], [one.enforced for one in samples]
    return Figures(
        changes=len(samples),
        pending=sum(not one.applied for one in samples),
        wrote_p50=percentile(wrote, 0.5),
        wrote_p99=percentile(wrote, 0.99),
        enforced_p50=percentile(enforced, 0.5),
        enforced_p99=percentile(enforced, 0.99),
        enforced_most=max(enforced),
    )


def text(found: Figures, load: float) -> str:
    """The lines for stdout. load: the machine's load average at the end; our own part is below 2."""
    verdict = "met" if found.meets_target else "MISSED"
    lines = [
        f"propagation of {found.changes} changes made through the API, one after the other (load average {load:.1f}):",
        f"  answered after        p50 {found.wrote_p50:7.1f} ms   p99 {found.wrote_p99:7.1f} ms",
        f"  in force after that   p50 {found.enforced_p50:7.1f} ms   p99 {found.enforced_p99:7.1f} ms",
        f"  at most {found.enforced_most:.1f} ms; answered pending: {found.pending}",
        f"acceptance: p99 at most {TARGET_SECONDS * 1000:.0f} ms, none pending: {verdict}",
    ]
    return "\n".join(lines)


async def measure(api: ExeatClient, target_url: str, changes: int, region: str = REGIONS[0]) -> list[Sample]:
    """Makes a proxy in `region`, then changes it so many times. Errors: LoadError, CallFailed."""
    proxy, key = await _proxy(api, target_url, region)
    headers = {"X-API-Key": key}
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=GIVEN_UP_SECONDS) as http:
        await _until(http, proxy, httpx.codes.OK)
        return [await _change(api, http, proxy, active=bool(number % 2)) for number in range(changes)]


async def _change(api: ExeatClient, http: httpx.AsyncClient, proxy: Proxy, *, active: bool) -> Sample:
    began = time.perf_counter()
    answer = await api.proxies.patch(proxy.client_id or "", proxy.id, active=active)
    answered = time.perf_counter()
    await _until(http, proxy, httpx.codes.OK if active else httpx.codes.FORBIDDEN)
    enforced = time.perf_counter()
    applied = answer.change is not None and answer.change.applied
    return Sample((answered - began) * 1000, (enforced - answered) * 1000, applied)


async def _until(http: httpx.AsyncClient, proxy: Proxy, status: int) -> None:
    """Calls until a call is answered with `status`. Raises LoadError."""
    deadline, last = time.monotonic() + GIVEN_UP_SECONDS, 0
    while last != status:
        if time.monotonic() > deadline:
            raise LoadError(f"still {last} instead of {status} after {GIVEN_UP_SECONDS:g} s")
        try:
            last = (await http.get(proxy.base_url + LOAD_PATH)).status_code
        except httpx.HTTPError as error:
            raise LoadError(f"a call had no answer: {type(error).__name__}") from None


async def _proxy(api: ExeatClient, target_url: str, region: str) -> tuple[Proxy, str]:
    """A proxy with all it needs, and its caller's key."""
    client = await api.clients.create(name="bench")
    caller = await api.credentials.create(
        client.id, name="caller", type="proxy", auth_type="apiKey", region=region
    )
    sender = await api.credentials.create(
        client.id,
        name="sender",
        type="target",
        auth_type="bearer",
        region=region,
        secret={"token": new_keys().bearer},
    )
    target = await api.targets.create(client.id, name="target", base_url=target_url, region=region)
    proxy = await api.proxies.create(
        client.id,
        name="proxy",
        region=region,
        proxy_credential_ids=[caller.id],
        target_id=target.id,
        target_credential_id=sender.id,
    )
    assert caller.secret is not None, "the API makes one when none is given"
    return proxy, caller.secret.reveal().decode()


@contextlib.contextmanager
def installation(root: Path, target_port: int, regions: Sequence[str] = REGIONS) -> Iterator[tuple[str, str]]:
    """URL and owner's token of an installation in `root`, stopped with the block. Errors: PeerError."""
    base = free_ports(1 + len(regions))
    variables = for_part(environment(), egress_allow=f"127.0.0.1:{target_port}", demo=False)

    def run(*arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            exeat(*arguments, "--home", str(root)),
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    try:
        options = ("--port-base", str(base), "--regions", ",".join(regions))
        done = run("up", "--detach", *options, seconds=_UP_SECONDS)
        if done.returncode:
            raise PeerError(f"failed: exeat up: {done.stderr.strip()[-300:]}")
        yield f"http://127.0.0.1:{base}", Home(root).owner_token.read_text().strip()
    finally:
        run("down", seconds=_DOWN_SECONDS)


def execute(changes: int) -> list[Sample]:
    """One run from start to end. Errors: PeerError, LoadError, CallFailed."""
    with tempfile.TemporaryDirectory(prefix="exeat-bench-") as directory:
        work = Path(directory)
        with Processes(work) as processes:
            target = upstream.start(processes, work, new_keys(), frozenset())
            with installation(work / "home", target.port) as (url, token):
                return asyncio.run(_measured(url, token, f"http://127.0.0.1:{target.port}", changes))


async def _measured(url: str, token: str, target_url: str, changes: int) -> list[Sample]:
    async with ExeatClient(url, token) as api:
        await measure(api, target_url, WARM_UP)
        return await measure(api, target_url, changes)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """`changes` and `results`. Errors: SystemExit(2)."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.propagation", description=__doc__)
    parser.add_argument("--changes", type=int, default=CHANGES, help=f"how many ({CHANGES})")
    parser.add_argument("--results", type=Path, default=Path("bench/results"), help="directory for the JSON")
    options = parser.parse_args(arguments)
    if options.changes < 1:
        parser.error("--changes: at least 1")
    return options


def document(at: str, samples: Sequence[Sample]) -> dict[str, Any]:
    """The same as JSON, with every sample."""
    return {
        "version": 1,
        "kind": "propagation",
        "at": at,
        "machine": machine.facts(),
        "figures": asdict(figures(samples)),
        "samples": [asdict(one) for one in samples],
    }


def main(arguments: Sequence[str], tell: Callable[[str], None] = print) -> int:
    """Runs, prints and writes; 0 when it could measure, whatever the figures are."""
    signal.signal(signal.SIGTERM, _leave)
    options, at = parse(arguments), iso_ms(SystemClock().wall_ms())
    try:
        samples = execute(options.changes)
    except (PeerError, LoadError, CallFailed) as error:
        tell(f"propagation: {error.detail or error}")
        return 1
    except KeyboardInterrupt:
        tell("interrupted; everything is stopped")
        return 130
    tell(text(figures(samples), os.getloadavg()[0]))
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{at.replace(':', '').replace('.', '-')}-propagation.json"
    path.write_text(json.dumps(document(at, samples), indent=1) + "\n", encoding="utf-8")
    tell(f"written: {path}")
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
