"""The bench of propagation: its figures, its words, its options; `tests/e2e/planes/test_changes.py` has it measure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.bench.propagation import CHANGES, Sample, figures, parse, percentile, result, text

SAMPLES = [Sample(wrote=float(10 + number), enforced=float(number), applied=True) for number in range(1, 201)]


@given(values=st.lists(st.floats(0, 1e6), min_size=1), share=st.floats(0.01, 1))
def test_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    """Nearest rank: at least that share is at or below it, and less than that share is below it."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


def test_figures_are_percentiles_of_all_samples() -> None:
    """p50, p99 and the greatest, of answer and enforcement apart."""
    found = figures(SAMPLES)
    assert (found.changes, found.pending) == (200, 0)
    assert (found.enforced_p50, found.enforced_p99, found.enforced_most) == (100, 198, 200)
    assert (found.wrote_p50, found.wrote_p99) == (110, 208)
    assert found.meets_target
    assert "met" in text(found, 0.5)


@pytest.mark.parametrize("odd", [Sample(1, 1001, applied=True), Sample(1, 1, applied=False)])
def test_late_or_pending_change_misses_the_target(odd: Sample) -> None:
    """One in fifty that is late, or a single one that is pending, is told."""
    found = figures([*SAMPLES[:48], odd])
    assert not found.meets_target
    assert "MISSED" in text(found, 0.5)


def test_result_has_every_sample() -> None:
    """Beside what they come to."""
    found = result(SAMPLES)
    assert len(found.samples) == 200
    assert found.samples[0] == {"wrote": 11.0, "enforced": 1.0, "applied": True}
    assert found.figures["enforced_p99"] == 198
    assert "met" in found.text


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    """200 changes unless told otherwise; none at all is refused."""
    assert parse([]).changes == CHANGES == 200
    assert parse(["--changes", "3", "--results", "x"]).results == Path("x")
    with pytest.raises(SystemExit):
        parse(["--changes", "0"])
    assert "at least 1" in capsys.readouterr().err
