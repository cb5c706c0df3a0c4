"""The actor class without Ray, in a process of its own: bytes in and out, and an end when it must not go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from actors.limiter.shell import EXIT_OVER, RateLimiter

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import asyncio, json, shutil, sys
import msgspec
from actors.limiter.shell import RateLimiter
from models.errors import ExeatError
from models.planes.calls import Ready
from models.planes.frames import PROTOCOL
from models.planes.permits import *

encode, home = msgspec.msgpack.encode, sys.argv[1]
WANT = encode(ReserveRequest(holder="h", wants=(Want("p", "day", 86400, 100, 1, 10),)))

async def main():
    limiter = object.__new__(RateLimiter)
    await limiter.__init__("us", home, home + "/limiter.log", 0, 1)
    ready = msgspec.msgpack.decode(await limiter.ready(), type=Ready)
    assert (ready.role, ready.region, ready.protocol) == ("RateLimiter", "us", PROTOCOL), ready
    said = msgspec.msgpack.decode(await limiter.reserve(WANT), type=ReserveAnswer)
    [lease] = said.leases
    returns = (Return(lease.lease, said.incarnation, 4),)
    assert await limiter.give_back(encode(ReturnRequest(holder="h", returns=returns))) == b""
    asked = encode(RecallRequest(link="l", holders=("h",)))
    first = asyncio.ensure_future(limiter.recalls(asked))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(limiter.recalls(asked))
    assert msgspec.msgpack.decode(await first, type=RecallAnswer) == RecallAnswer(number=0)
    errors = []
    for payload in (b"canary", encode(ReserveRequest(holder="h", wants=(), shards=2))):
        try:
            await limiter.reserve(payload)
        except ExeatError as error:
            errors.append(type(error).__name__)
            assert "canary" not in str(error)
    print(json.dumps({"granted": lease.granted, "remaining": lease.remaining, "errors": errors}), flush=True)
    if sys.argv[2] == "broken":
        shutil.rmtree(home)
        while True:
            await limiter.reserve(WANT)
            print("went on", flush=True)

asyncio.run(main())
"""


def run(home: Path, how: str) -> tuple[int, dict[str, object]]:
    """Exit status and what a limiter over that home said."""
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(home), how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    [said, *more] = done.stdout.splitlines() or [done.stderr]
    assert len(more) <= 1, more  # a call within the ceiling that was kept already
    return done.returncode, json.loads(said)


def test_two_lives_over_one_home_and_one_that_loses_its_store(tmp_path: Path) -> None:
    """What the first granted is spent for the second; a store that fails ends the process at once, with its status."""
    status, said = run(tmp_path / "region", "fine")
    assert (status, said) == (0, {"granted": 10, "remaining": 90, "errors": ["ExeatError", "Refused"]})
    status, said = run(tmp_path / "region", "broken")
    assert (status, said["remaining"]) == (EXIT_OVER, 75)
    assert not (tmp_path / "region").exists()


def test_importing_it_does_nothing_and_needs_no_ray() -> None:
    """So that whoever makes Ray classes decides when Ray is imported."""
    code = "import sys, actors.limiter.shell; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=False).returncode == 0
    assert RateLimiter.__name__ == "RateLimiter"
