"""`python -m scripts.bench.redaction`: what redacting an answer costs, and how many texts a second one redactor reads.

One region of an installation in a directory of its own, as `exeat up` starts it, with one redactor; a 2 kB answer with
ten texts, once as it is and once redacted. It must never leave a process behind, also when it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from scripts.bench import probes, program
from scripts.bench.errors import PeerError
from scripts.bench.governance import KEY_HEADER, PEOPLE_PATH
from scripts.bench.installation import REGIONS, parts, until_in_force, with_target
from scripts.bench.load import Sample, client, request_bytes
from sdk import ExeatClient

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
    with with_target(REGIONS[:1]) as (url, token, target_url):
        plain, redacted = asyncio.run(_govern(url, token, target_url))
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


async def _govern(url: str, token: str, target_url: str) -> tuple[Place, Place]:
    """Two proxies that differ in one filter. Errors: CallFailed, PeerError."""
    async with ExeatClient(url, token) as api:
        found = await parts(api, REGIONS[0], target_url, None)
        plain, redacted = [
            await api.proxies.create(found.client_id, name=name, **found.joined)
            for name in ("plain", "redacted")
        ]
        made = await api.proxies.filters.create(
            found.client_id, redacted.id, action="redact", paths=["$.tickets[*].note"]
        )
        await until_in_force(api, made.revision)
    headers = {KEY_HEADER: found.key.reveal().decode()}
    return _place(plain.base_url + PEOPLE_PATH, headers), _place(redacted.base_url + PEOPLE_PATH, headers)


def _place(url: str, headers: dict[str, str]) -> Place:
    host, _, path = url.removeprefix("http://").partition("/")
    return Place(int(host.rpartition(":")[2]), f"/{path}", headers)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """`seconds` and `results`. Errors: SystemExit(2)."""
    parser = program.parser("redaction", __doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"of each measurement ({SECONDS})")
    return program.counted(parser, arguments, "seconds")


def result(plain: Sequence[Sample], redacted: Sequence[Sample], many: Sequence[Sample]) -> program.Result:
    """What is printed and written, with every sample."""
    found = figures(plain, redacted, many)
    samples = [[asdict(one) for one in several] for several in (plain, redacted, many)]
    return program.Result(text(found, os.getloadavg()[0]), asdict(found), samples)


def main(arguments: Sequence[str], tell: Callable[[str], None] = print) -> int:
    """Runs, prints and writes; 0 when it could measure, whatever the figures are."""
    options = parse(arguments)
    return program.run("redaction", options.results, lambda: result(*execute(options.seconds)), tell)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
