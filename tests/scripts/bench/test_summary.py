"""From samples to rows: medians, ratios within a round, and no figure where a peer failed."""

from __future__ import annotations

import pytest

from scripts.bench.load import Sample
from scripts.bench.plan import Step
from scripts.bench.summary import Measured, acceptance, rows


def measured(
    number: int, connections: int, peer: str, rate: int, p50: float, cpu: float | None = None
) -> Measured:
    """One measurement of a second."""
    return Measured(Step(number, connections, peer, 1), Sample(rate, 1.0, p50, p50 * 3), cpu)


def three_rounds() -> list[Measured]:
    """Three rounds at 32 connections on a machine that gets slower; the ratio stays 1.5."""
    return [
        entry
        for number, envoy in ((1, 20_000), (2, 10_000), (3, 4_000))
        for entry in (
            measured(number, 32, "direct", envoy * 3, 100.0),
            measured(number, 32, "envoy", envoy, 300.0 + number, cpu=0.5),
            measured(number, 32, "exeat", envoy * 3 // 2, 200.0, cpu=0.3),
        )
    ]


PEERS = ("direct", "envoy", "exeat")


def test_figures_are_medians_and_ratios_belong_to_one_round():
    """A machine that drifts changes the rates, not the ratio."""
    direct, envoy, exeat = rows(three_rounds(), {}, (32,), PEERS)
    assert (exeat.rate, exeat.rate_low, exeat.rate_high) == (15_000, 6_000, 30_000)
    assert exeat.vs_envoy == pytest.approx(1.5)
    assert exeat.vs_direct == pytest.approx(0.5)
    assert (envoy.p50_us, envoy.p99_us) == (302.0, 906.0)
    assert envoy.added_p50_us == pytest.approx(202.0)
    assert exeat.cpu_us == pytest.approx(20.0)
    assert direct.added_p50_us is None
    assert direct.cpu_us is None


def test_the_warm_up_does_not_count():
    """Round 0 is run and forgotten."""
    entries = [*three_rounds(), measured(0, 32, "exeat", 1, 9e9)]
    assert rows(entries, {}, (32,), PEERS) == rows(three_rounds(), {}, (32,), PEERS)


def test_a_failed_row_has_a_note_and_no_figures():
    """Also when some of its rounds went well; and nothing is compared with it."""
    table = rows(three_rounds(), {(32, "envoy"): "failed: status 503"}, (32,), PEERS)
    assert table[1].note == "failed: status 503"
    assert table[1].rate is None
    assert table[2].vs_envoy is None
    assert table[2].vs_direct is not None


def test_a_pair_without_samples_says_so():
    """For example when the run was cut short."""
    assert rows([], {}, (1,), ("direct",))[0].note == "not measured"


def test_acceptance_names_the_ratio_and_the_added_latencies():
    """The lines that a run is judged by; the planes beside the policy file, in the same rounds."""
    entries = [
        *three_rounds(),
        *(
            measured(number, 32, "planes", rate, 200.0)
            for number, rate in ((1, 27_000), (2, 13_500), (3, 6_000))
        ),
        measured(1, 1, "direct", 40_000, 20.0),
        measured(1, 1, "envoy", 5_000, 210.4),
        measured(1, 1, "exeat", 9_000, 120.0),
    ]
    assert acceptance(rows(entries, {}, (1, 32), (*PEERS, "planes"))) == [
        "exeat/envoy at 32 connections: 1.50 (at least 0.9: met)",
        "planes/exeat at 32 connections: 0.90 (at least 0.9: met)",
        "added p50 at 1 connection: exeat 100 us, envoy 190 us",
    ]


def test_acceptance_says_what_is_missing():
    """Neither a missing peer nor a missing scenario looks like a figure."""
    table = rows(three_rounds(), {(32, "exeat"): "not installed"}, (32,), PEERS)
    assert acceptance(table) == [
        "exeat/envoy at 32 connections: not measured (exeat: not installed)",
        "planes/exeat at 32 connections: not measured (planes: not asked for; exeat: not installed)",
        "added p50 at 1 connection: exeat not measured, envoy not measured",
    ]
    assert "not asked for" in acceptance([])[0]
