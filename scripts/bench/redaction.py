"""`python -m scripts.bench.redaction`: what redacting an answer costs, and how many texts a second one redactor reads.

One region of an installation in a directory of its own, as `exeat up` starts it, with one redactor; a 2 kB answer with
ten texts, once as it is and once redacted. It must never leave a process behind, also when it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from models.clock import SystemClock, iso_ms
from scripts.bench import machine, probes, upstream
from scripts.bench.errors import LoadError, PeerError
from scripts.bench.governance import PEOPLE_PATH, new_keys
from scripts.bench.load import Sample, client, request_bytes
from scripts.bench.processes import Processes
from scripts.bench.propagation import REGIONS, installation
from scripts.first_run.demo import in_force
from sdk import CallFailed, ExeatClient

SECONDS: Final = 6
ROUNDS: Final = 3
CALLERS: Final = 32
TEXTS: Final = 10
ADDED_MS, TEXTS_A_SECOND = 30.0, 400.0
"""What is aimed at: added to p50 at one caller, and read at 32."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds at one caller (medians of the rounds' p50), and texts per second at `CALLERS` (the median)."""

    plain_p50: float
    redacted_p50: float
    texts_a_second: float

    @property
    def added(self) -> float:
        """What redaction adds to a call, milliseconds."""
        return self.redacted_p50 - self.plain_p50

    @property
    def meets_target(self) -> bool:
        """Whether both are as aimed at."""
        return self.added <= ADDED_MS and self.texts_a_second >= TEXTS_A_SECOND


def figures(plain: Sequence[Sample], redacted: Sequence[Sample], many: Sequence[Sample]) -> Figures:
    """Of the samples of all rounds."""
    return Figures(
        plain_p50=_median(one.p50_us for one in plain) / 1000,
        redacted_p50=_median(one.p50_us for one in redacted) / 1000,
        texts_a_second=_median(one.rate for one in many) * TEXTS,
    )


def _median(values: Any) -> float:
    ordered = sorted(values)
    return float(ordered[len(ordered) // 2])


def text(found: Figures, load: float) -> str:
    """The lines for stdout. load: the machine's load average at the end."""
    verdict = "met" if found.meets_target else "MISSED"
    lines = [
        f"redaction of a 2 kB answer with {TEXTS} texts by one redactor (load average {load:.1f}):",
        f"  1 caller    p50 {found.plain_p50:.1f} ms as it is, {found.redacted_p50:.1f} ms redacted: {found.added:.1f} ms added",
        f"  {CALLERS} callers  {found.texts_a_second:,.0f} texts a second",
        f"acceptance: at most {ADDED_MS:g} ms added, at least {TEXTS_A_SECOND:g} texts a second: {verdict}",
    ]
    return "\n".join(lines)


def execute(seconds: int) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """One run from start to end: plain, redacted, and redacted for many. Errors: PeerError, LoadError, CallFailed."""
    with tempfile.TemporaryDirectory(prefix="exeat-bench-") as directory:
        work = Path(directory)
        with Processes(work) as processes:
            target = upstream.start(processes, work, new_keys(), frozenset())
            with installation(work / "home", target.port, REGIONS[:1]) as (url, token):
                plain, redacted = asyncio.run(_govern(url, token, f"http://127.0.0.1:{target.port}"))
                return _measure(plain, redacted, seconds)


@dataclass(frozen=True, slots=True)
class Place:
    """A proxy at its edge, and what its callers show."""

    port: int
    path: str
    headers: dict[str, str]


def _measure(plain: Place, redacted: Place, seconds: int) -> tuple[list[Sample], list[Sample], list[Sample]]:
    whole, clean = _body(plain), _body(redacted)
    if b"example.com" not in whole or b"example.com" in clean or b"<PERSON>" not in clean:
        raise PeerError("failed: the answer is not redacted")
    found: tuple[list[Sample], list[Sample], list[Sample]] = ([], [], [])
    for _ in range(ROUNDS):
        found[0].append(client.one_connection(*_call(plain), len(whole), seconds / ROUNDS))
        found[1].append(client.one_connection(*_call(redacted), len(clean), seconds / ROUNDS))
        found[2].append(client.many_connections(*_call(redacted), len(clean), CALLERS, seconds))
    return found


def _call(place: Place) -> tuple[int, bytes]:
    return place.port, request_bytes(place.port, place.path, place.headers)


def _body(place: Place) -> bytes:
    answer = probes.ask(place.port, place.path, place.headers)
    if answer.status != 200:
        raise PeerError(f"failed: answered {answer.status}")
    return answer.body


async def _govern(url: str, token: str, upstream_url: str) -> tuple[Place, Place]:
    """Two proxies that differ in one filter. Errors: CallFailed, PeerError."""
    region = REGIONS[0]
    async with ExeatClient(url, token) as api:
        owner = await api.clients.create(name="bench")
        caller = await api.credentials.create(
            owner.id, name="caller", type="proxy", auth_type="apiKey", region=region
        )
        sender = await api.credentials.create(
            owner.id, name="sender", type="target", auth_type="none", region=region, secret={}
        )
        target = await api.targets.create(owner.id, name="target", base_url=upstream_url, region=region)
        proxies = [
            await api.proxies.create(
                owner.id,
                name=name,
                region=region,
                proxy_credential_ids=[caller.id],
                target_id=target.id,
                target_credential_id=sender.id,
            )
            for name in ("plain", "redacted")
        ]
        made = await api.proxies.filters.create(
            owner.id, proxies[1].id, action="redact", paths=["$.tickets[*].note"]
        )
        if not await in_force(api, made.revision):
            raise PeerError("failed: the policy did not come into force")
    assert caller.secret is not None, "the API makes one when none is given"
    headers = {"X-API-Key": caller.secret.reveal().decode()}
    places = [_place(one.base_url + PEOPLE_PATH, headers) for one in proxies]
    return places[0], places[1]


def _place(url: str, headers: dict[str, str]) -> Place:
    host, _, path = url.removeprefix("http://").partition("/")
    return Place(int(host.rpartition(":")[2]), f"/{path}", headers)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """`seconds` and `results`. Errors: SystemExit(2)."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.redaction", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"of each measurement ({SECONDS})")
    parser.add_argument("--results", type=Path, default=Path("bench/results"), help="directory for the JSON")
    options = parser.parse_args(arguments)
    if options.seconds < 1:
        parser.error("--seconds: at least 1")
    return options


def main(arguments: Sequence[str], tell: Callable[[str], None] = print) -> int:
    """Runs, prints and writes; 0 when it could measure, whatever the figures are."""
    signal.signal(signal.SIGTERM, _leave)
    options, at = parse(arguments), iso_ms(SystemClock().wall_ms())
    try:
        samples = execute(options.seconds)
    except (PeerError, LoadError, CallFailed) as error:
        tell(f"redaction: {error.detail or error}")
        return 1
    except KeyboardInterrupt:
        tell("interrupted; everything is stopped")
        return 130
    found = figures(*samples)
    tell(text(found, os.getloadavg()[0]))
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{at.replace(':', '').replace('.', '-')}-redaction.json"
    document = {
        "version": 1,
        "kind": "redaction",
        "at": at,
        "machine": machine.facts(),
        "figures": asdict(found),
    }
    document["samples"] = [[asdict(one) for one in several] for several in samples]
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    tell(f"written: {path}")
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
