"""From samples to rows: medians over the rounds, and ratios between peers of the same round.

Ratios and added latency are taken within a round and the median of those is shown, so that a slow
minute of the machine cancels out. Pure; it must never show a figure for a row that failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from scripts.bench.load import Sample
from scripts.bench.plan import Step

TARGET_RATIO = 0.9
"""What is aimed at with 32 connections: of us beside Envoy, and through the planes beside a policy file."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One sample and where it belongs. cpu_seconds: what the proxy's processes used, if known."""

    step: Step
    sample: Sample
    cpu_seconds: float | None = None

    @property
    def cpu_us(self) -> float | None:
        """Processor microseconds of the proxy per answer."""
        return None if self.cpu_seconds is None else self.cpu_seconds * 1e6 / self.sample.requests


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Figures are None where `note` says why there is none.

    rate, rate_low, rate_high: answers per second (median, least, most); p50_us, p99_us: microseconds;
    vs_envoy, vs_direct, vs_exeat: ratio of rates; added_p50_us: p50 minus the direct one; cpu_us: processor
    microseconds of the proxy per answer.
    """

    connections: int
    peer: str
    rate: float | None = None
    rate_low: float | None = None
    rate_high: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    vs_envoy: float | None = None
    vs_direct: float | None = None
    vs_exeat: float | None = None
    added_p50_us: float | None = None
    cpu_us: float | None = None
    note: str = ""


def rows(
    measured: Sequence[Measured],
    failures: Mapping[tuple[int, str], str],
    connections: Sequence[int],
    peers: Sequence[str],
) -> list[Row]:
    """One row per (connections, peer). `failures` names the rows without figures and why."""
    return [
        Row(count, peer, note=failures[count, peer])
        if (count, peer) in failures
        else _row(_by_round(measured, failures, count), count, peer)
        for count in connections
        for peer in peers
    ]


def acceptance(table: Sequence[Row]) -> list[str]:
    """The lines that a version is judged by."""
    at = {(row.connections, row.peer): row for row in table}
    ours, planes = at.get((32, "exeat")), at.get((32, "planes"))
    added = {peer: _added(at.get((1, peer))) for peer in ("exeat", "envoy")}
    return [
        f"exeat/envoy at 32 connections: {_verdict(ours.vs_envoy if ours else None, at, ('exeat', 'envoy'))}",
        f"planes/exeat at 32 connections: {_verdict(planes.vs_exeat if planes else None, at, ('planes', 'exeat'))}",
        f"added p50 at 1 connection: exeat {added['exeat']}, envoy {added['envoy']}",
    ]


def _verdict(ratio: float | None, at: Mapping[tuple[int, str], Row], peers: Sequence[str]) -> str:
    if ratio is None:
        return f"not measured ({_why(at, 32, peers)})"
    met = "met" if ratio >= TARGET_RATIO else "not met"
    return f"{ratio:.2f} (at least {TARGET_RATIO}: {met})"


def _by_round(
    measured: Sequence[Measured], failures: Mapping[tuple[int, str], str], connections: int
) -> dict[str, dict[int, Measured]]:
    """Samples by peer and round at this number of connections, failed rows and the warm-up left out."""
    found: dict[str, dict[int, Measured]] = {}
    for entry in measured:
        step = entry.step
        if step.round and step.connections == connections and (connections, step.peer) not in failures:
            found.setdefault(step.peer, {})[step.round] = entry
    return found


def _row(measured: Mapping[str, Mapping[int, Measured]], connections: int, peer: str) -> Row:
    own = measured.get(peer, {})
    if not own:
        return Row(connections, peer, note="not measured")
    samples = [entry.sample for entry in own.values()]
    rates = [sample.rate for sample in samples]
    direct, envoy = measured.get("direct", {}), measured.get("envoy", {})
    added = [
        own[number].sample.p50_us - direct[number].sample.p50_us for number in own.keys() & direct.keys()
    ]
    spent = [entry.cpu_us for entry in own.values() if entry.cpu_us is not None]
    return Row(
        connections,
        peer,
        rate=median(rates),
        rate_low=min(rates),
        rate_high=max(rates),
        p50_us=median(sample.p50_us for sample in samples),
        p99_us=median(sample.p99_us for sample in samples),
        vs_envoy=_ratio(own, envoy),
        vs_direct=_ratio(own, direct),
        vs_exeat=_ratio(own, measured.get("exeat", {})),
        added_p50_us=median(added) if added and peer != "direct" else None,
        cpu_us=median(spent) if spent else None,
    )


def _ratio(own: Mapping[int, Measured], other: Mapping[int, Measured]) -> float | None:
    ratios = [own[number].sample.rate / other[number].sample.rate for number in own.keys() & other.keys()]
    return median(ratios) if ratios else None


def _why(at: Mapping[tuple[int, str], Row], connections: int, peers: Sequence[str]) -> str:
    missing = [
        f"{peer}: {row.note if row else 'not asked for'}"
        for peer in peers
        if (row := at.get((connections, peer))) is None or row.rate is None
    ]
    return "; ".join(missing)


def _added(row: Row | None) -> str:
    return "not measured" if row is None or row.added_p50_us is None else f"{row.added_p50_us:.0f} us"
