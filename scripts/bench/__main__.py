"""`python -m scripts.bench`: run the plan, print the table, write the JSON.

It answers 0 when it could measure, whatever the ratios are, and 1 when the target did not start. It must
never leave a process behind, also when it is interrupted.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType

from models.clock import SystemClock, iso_ms
from scripts.bench import machine, plan, report, summary
from scripts.bench.errors import PeerError
from scripts.bench.peers import registry
from scripts.bench.run import execute


def main(arguments: list[str]) -> int:
    """Run with these command line arguments; the exit status."""
    signal.signal(signal.SIGTERM, _leave)
    options = plan.parse(arguments)
    facts, at = machine.facts(), iso_ms(SystemClock().wall_ms())
    _tell(f"about {options.estimated_seconds():.0f} s")
    try:
        outcome = execute(options, registry(), _tell)
    except PeerError as error:
        _tell(f"the upstream did not start: {error.detail}")
        return 1
    except KeyboardInterrupt:
        _tell("interrupted; everything is stopped")
        return 130
    rows = summary.rows(outcome.measured, outcome.failures, options.connections, options.peers)
    setting = report.Setting(
        at,
        facts,
        str(outcome.placement),
        outcome.generators,
        outcome.upstream,
        outcome.titles,
        outcome.foreign_share,
    )
    print(report.text(setting, options, rows))
    document = report.document(setting, options, rows, outcome.measured, outcome.findings)
    path = _write(options.results, at, document)
    print(f"written: {path}")
    return 0


def _write(directory: Path, at: str, document: dict[str, object]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{at.replace(':', '').replace('.', '-')}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
