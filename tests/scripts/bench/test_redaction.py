"""The bench of redaction: its figures, its words, its options."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.bench.load import Sample
from scripts.bench.redaction import SECONDS, figures, parse, result, text


def sample(p50_us: float, rate: int = 10) -> Sample:
    """One measurement of a second."""
    return Sample(rate, 1.0, p50_us, p50_us * 2)


def test_figures_are_medians_of_the_rounds() -> None:
    """At one caller what is added to the median call; at many, texts, of which an answer has ten."""
    plain, redacted = (
        [sample(900), sample(1_000), sample(9_000)],
        [sample(20_000), sample(21_000), sample(19_000)],
    )
    found = figures(plain, redacted, [sample(1, 40), sample(1, 60), sample(1, 50)])
    assert (found.plain_p50, found.redacted_p50, found.texts_a_second) == (1.0, 20.0, 500)
    assert found.added == pytest.approx(19.0)
    assert found.meets_target
    assert text(found, 0.5).endswith("met")


def test_result_has_every_sample() -> None:
    """As it is, redacted, and redacted for many; beside what they come to."""
    found = result([sample(900)] * 3, [sample(20_000)] * 3, [sample(1, 40)] * 3)
    assert [len(one) for one in found.samples] == [3, 3, 3]
    assert found.samples[0][0]["p50_us"] == 900
    assert found.figures["texts_a_second"] == 400
    assert "met" in found.text


@pytest.mark.parametrize(("p50", "rate"), [(32_000, 60), (2_000, 39)], ids=["slow", "few"])
def test_what_is_too_slow_or_too_few_misses_the_target(p50: float, rate: int) -> None:
    """Either alone."""
    found = figures([sample(1_000)], [sample(p50)], [sample(1, rate)])
    assert not found.meets_target
    assert "MISSED" in text(found, 0.5)


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Bounded unless told otherwise; nothing at all is refused."""
    assert parse([]).seconds == SECONDS
    assert parse(["--seconds", "1", "--results", "x"]).results == Path("x")
    with pytest.raises(SystemExit):
        parse(["--seconds", "0"])
    assert "at least 1" in capsys.readouterr().err
