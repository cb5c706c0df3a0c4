"""`python -m scripts.bench`: run the plan, print the table, write the JSON.

It answers 0 when it could measure, whatever the ratios are, and 1 when the target did not start. It must
never leave a process behind, also when it is interrupted.
"""

from __future__ import annotations

import sys

from scripts.bench import machine, plan, program, report, summary
from scripts.bench.errors import PeerError
from scripts.bench.peers import registry
from scripts.bench.run import execute


def main(arguments: list[str]) -> int:
    """Run with these command line arguments; the exit status."""
    program.end_by_exception()
    options = plan.parse(arguments)
    facts, at = machine.facts(), program.now()
    _tell(f"about {options.estimated_seconds():.0f} s")
    try:
        outcome = execute(options, registry(), _tell)
    except PeerError as error:
        _tell(f"the upstream did not start: {error.detail}")
        return 1
    except KeyboardInterrupt:
        _tell("interrupted; everything is stopped")
        return program.INTERRUPTED
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
    path = program.write(options.results, at, document)
    print(f"written: {path}")
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
