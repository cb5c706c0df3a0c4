"""`python -m scripts.bench.propagation`: how soon a change made through the API is in force at the edge.

One installation in a directory of its own, as `exeat up` starts it; a proxy is switched off and on, and called
after each answer until a call shows it. It must never leave a process behind, also when it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import httpx

from scripts.bench import program
from scripts.bench.errors import LoadError
from scripts.bench.governance import KEY_HEADER, LOAD_PATH, new_keys
from scripts.bench.installation import REGIONS, parts, with_target
from sdk import ExeatClient, Proxy

CHANGES: Final = 200
WARM_UP: Final = 5
GIVEN_UP_SECONDS: Final = 10.0
TARGET_SECONDS: Final = 1.0
"""What is aimed at, from the answer to a change on."""


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
    found = await parts(api, region, target_url, new_keys())
    proxy = await api.proxies.create(found.client_id, name="proxy", **found.joined)
    headers = {KEY_HEADER: found.key.reveal().decode()}
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


def execute(changes: int) -> list[Sample]:
    """One run from start to end. Errors: PeerError, LoadError, CallFailed."""
    with with_target() as (url, token, target_url):
        return asyncio.run(_measured(url, token, target_url, changes))


async def _measured(url: str, token: str, target_url: str, changes: int) -> list[Sample]:
    async with ExeatClient(url, token) as api:
        await measure(api, target_url, WARM_UP)
        return await measure(api, target_url, changes)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """`changes` and `results`. Errors: SystemExit(2)."""
    parser = program.parser("propagation", __doc__)
    parser.add_argument("--changes", type=int, default=CHANGES, help=f"how many ({CHANGES})")
    return program.counted(parser, arguments, "changes")


def result(samples: Sequence[Sample]) -> program.Result:
    """What is printed and written, with every sample."""
    found = figures(samples)
    return program.Result(text(found, os.getloadavg()[0]), asdict(found), [asdict(one) for one in samples])


def main(arguments: Sequence[str], tell: Callable[[str], None] = print) -> int:
    """Runs, prints and writes; 0 when it could measure, whatever the figures are."""
    options = parse(arguments)
    return program.run("propagation", options.results, lambda: result(execute(options.changes)), tell)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
