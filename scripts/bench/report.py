"""The table on stdout and the JSON beside it: the same rows, with the machine they belong to.

Text and documents only; where they go is the caller's business. It must never hold a key or an address
of anything but this machine's loopback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from scripts.bench.plan import Plan
from scripts.bench.probes import Finding
from scripts.bench.summary import Measured, Row, acceptance

QUIET_SHARE = 0.03
_NOTE = 120
_HEAD = (
    "conn",
    "peer",
    "req/s",
    "min to max",
    "p50 us",
    "p99 us",
    "vs envoy",
    "vs direct",
    "added p50",
    "cpu us/req",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What surrounded the figures: machine facts, core placement, generators, upstream, peer titles, other processes."""

    at: str
    machine: Mapping[str, object]
    placement: str
    generators: Mapping[str, str]
    upstream: str
    titles: Mapping[str, str]
    foreign_share: float | None


def table(rows: Sequence[Row]) -> str:
    """Aligned columns, a blank line between numbers of connections, notes instead of missing figures (cut to fit; whole in the JSON)."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    lines: list[str] = []
    before = None
    for row, line in zip([None, *rows], cells, strict=True):
        if row is not None and row.connections != before:
            lines.append("")
            before = row.connections
        text = "  ".join(
            cell.ljust(width) if column == 1 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        note = "" if row is None else row.note
        lines.append(f"{text.rstrip()}  {note[:_NOTE]}".rstrip())
    return "\n".join(lines)


def text(setting: Setting, plan: Plan, rows: Sequence[Row]) -> str:
    """Everything for stdout: the setting, the table, how to read it, and the acceptance lines last."""
    machine = setting.machine
    lines = [
        f"{machine['cores']} cores, {machine['processor']}, Python {machine['python']}, {machine['system']}",
        f"upstream: {setting.upstream}, {plan.rounds} alternating rounds of {plan.seconds} s after a warm-up",
        f"load: {', '.join(f'{what}: {tool}' for what, tool in setting.generators.items())}",
        f"cores: {setting.placement}",
        *_warning(setting.foreign_share),
        *(f"{peer}: {title}" for peer, title in setting.titles.items()),
        "",
        table(rows),
        "",
        "req/s, p50 and p99 are medians over the rounds; ratios and added p50 are medians of each round's own.",
        *acceptance(rows),
    ]
    return "\n".join(lines)


def document(
    setting: Setting,
    plan: Plan,
    rows: Sequence[Row],
    measured: Sequence[Measured],
    findings: Mapping[str, Sequence[Finding]],
) -> dict[str, object]:
    """The same as JSON, with every sample and every governed check."""
    return {
        "version": 1,
        **asdict(setting),
        "plan": {
            "peers": list(plan.peers),
            "connections": list(plan.connections),
            "rounds": plan.rounds,
            "seconds": plan.seconds,
        },
        "rows": [asdict(row) for row in rows],
        "acceptance": acceptance(rows),
        "checks": {peer: [asdict(finding) for finding in found] for peer, found in findings.items()},
        "samples": [
            {
                **entry.step._asdict(),
                **asdict(entry.sample),
                "rate": entry.sample.rate,
                "cpu_us": entry.cpu_us,
            }
            for entry in measured
            if entry.step.round
        ],
    }


def _warning(foreign_share: float | None) -> list[str]:
    """A line when others used so much of the machine that rates and latencies are not the peers' own."""
    if foreign_share is None or foreign_share < QUIET_SHARE:
        return []
    return [f"WARNING: other processes used {foreign_share:.0%} of the machine during the measurements"]


def _cells(row: Row) -> tuple[str, ...]:
    spread = "-" if row.rate_low is None else f"{row.rate_low:,.0f} to {row.rate_high:,.0f}"
    return (
        str(row.connections),
        row.peer,
        _number(row.rate, ",.0f"),
        spread,
        _number(row.p50_us, ".0f"),
        _number(row.p99_us, ".0f"),
        _number(row.vs_envoy, ".2f"),
        _number(row.vs_direct, ".2f"),
        _number(row.added_p50_us, ".0f"),
        _number(row.cpu_us, ".1f"),
    )


def _number(value: float | None, shape: str) -> str:
    return "-" if value is None else format(value, shape)
