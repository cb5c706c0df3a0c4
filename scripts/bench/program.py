"""What the benchmarks share as programs: how they are told where results go, how they end, and what they write.

Each answers 0 when it could measure, whatever the figures are. What was started is ended by whoever started it; a
signal therefore becomes an exception here, never an exit on the spot.
"""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from models.clock import SystemClock, iso_ms
from scripts.bench import machine
from scripts.bench.errors import LoadError, PeerError
from sdk import CallFailed

INTERRUPTED = 130


class Result(NamedTuple):
    """text: for stdout. figures: what it comes to; samples: all that was measured. Both as JSON has them."""

    text: str
    figures: dict[str, Any]
    samples: list[Any]


def parser(kind: str, description: str | None) -> argparse.ArgumentParser:
    """Of `python -m scripts.bench.KIND`, with `--results`."""
    made = argparse.ArgumentParser(prog=f"python -m scripts.bench.{kind}", description=description)
    made.add_argument("--results", type=Path, default=Path("bench/results"), help="directory for the JSON")
    return made


def counted(options: argparse.ArgumentParser, arguments: Sequence[str], name: str) -> argparse.Namespace:
    """The arguments, of which option `name` is a number from 1 on. Errors: SystemExit(2)."""
    found = options.parse_args(arguments)
    if getattr(found, name) < 1:
        options.error(f"--{name}: at least 1")
    return found


def document(kind: str, at: str, result: Result) -> dict[str, Any]:
    """What is written: with the machine that it belongs to."""
    return {
        "version": 1,
        "kind": kind,
        "at": at,
        "machine": machine.facts(),
        "figures": result.figures,
        "samples": result.samples,
    }


def run(kind: str, results: Path, measure: Callable[[], Result], tell: Callable[[str], None] = print) -> int:
    """Measures, prints and writes; the exit status. measure: may raise LoadError, PeerError, CallFailed."""
    end_by_exception()
    at = now()
    try:
        result = measure()
    except (PeerError, LoadError, CallFailed) as error:
        tell(f"{kind}: {error.detail or error}")
        return 1
    except KeyboardInterrupt:
        tell("interrupted; everything is stopped")
        return INTERRUPTED
    tell(result.text)
    tell(f"written: {write(results, at, document(kind, at, result), kind)}")
    return 0


def end_by_exception() -> None:
    """SIGTERM unwinds the stack from here on, so that every block ends what it started."""
    signal.signal(signal.SIGTERM, _leave)


def now() -> str:
    """The time of a run, as results have it."""
    return iso_ms(SystemClock().wall_ms())


def write(directory: Path, at: str, what: dict[str, Any], kind: str = "") -> Path:
    """The document in a file named for its time, and its kind where there is one."""
    directory.mkdir(parents=True, exist_ok=True)
    name = "-".join(filter(None, [at.replace(":", "").replace(".", "-"), kind]))
    path = directory / f"{name}.json"
    path.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")
    return path


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)
