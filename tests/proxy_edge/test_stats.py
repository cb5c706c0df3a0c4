"""Numbers shared by workers: each writes its own row, any of them shows the sum."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.errors import GRANTED, refusals
from proxy_edge.stats import Stats


class Time:
    """Seconds that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def samples(stats: Stats) -> dict[tuple[str, ...], float]:
    """(name, label values in order) -> value."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(stats.render().decode())
        for sample in family.samples
    }


def test_any_worker_shows_the_sum_of_all(tmp_path: Path) -> None:
    """Counters are added up, gauges shown per worker."""
    workers = [Stats(tmp_path / "s", index, 3, Time()) for index in range(3)]
    for index, stats in enumerate(workers):
        for _ in range(index + 1):
            stats.answered(GRANTED)
            stats.completed(1_500_000, 10, 20, 1)
        stats.gauge("connections", 100 + index)
        stats.record_lost()
    for stats in workers:
        got = samples(stats)
        assert got["exeat_requests_total", GRANTED] == 6
        assert got["exeat_bytes_in_total",] == 60
        assert got["exeat_bytes_out_total",] == 120
        assert got["exeat_masks_total",] == 6
        assert got["exeat_records_lost_total",] == 3
        assert [got["exeat_connections", str(index)] for index in range(3)] == [100, 101, 102]
        assert got["exeat_request_duration_seconds_count",] == 6
        assert got["exeat_request_duration_seconds_sum",] == pytest.approx(0.009)


def test_numbers_of_the_whole_edge_are_shown_as_they_are(tmp_path: Path) -> None:
    """Whichever worker answers, and not once for each."""
    stats = [
        Stats(tmp_path / "s", index, 2, Time(), shared=lambda: {"spool_depth": 7, "spool_removed": 3})
        for index in range(2)
    ]
    for one in stats:
        got = samples(one)
        assert (got["exeat_spool_depth",], got["exeat_spool_removed_total",]) == (7, 3)
    assert ("exeat_spool_depth",) not in samples(Stats(tmp_path / "s", 0, 2, Time()))


def test_durations_fall_into_their_buckets(tmp_path: Path) -> None:
    """Powers of two of a microsecond; the last bucket is unbounded; buckets are cumulative."""
    stats = Stats(tmp_path / "s", 0, 1, Time())
    for duration_ns in (0, 999, 1_000, 1_000_000, 10**15):
        stats.completed(duration_ns, 0, 0, 0)
    buckets = {float(key[1]): value for key, value in samples(stats).items() if key[0].endswith("_bucket")}
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets[1e-6] == 2
    assert buckets[2e-6] == 3
    assert buckets[0.000512] == 3
    assert buckets[0.001024] == 4
    assert buckets[float("inf")] == 5


def test_every_public_code_has_a_counter(tmp_path: Path) -> None:
    """And an unknown one is counted as a fault of ours, never lost."""
    stats = Stats(tmp_path / "s", 0, 1, Time())
    for kind in refusals():
        stats.answered(kind.code)
    stats.answered("no-such-code")
    got = samples(stats)
    for kind in refusals():
        assert got["exeat_requests_total", kind.code] == 1
    assert got["exeat_requests_total", "internal-error"] == 1


def test_counts_survive_a_worker_and_gauges_do_not(tmp_path: Path) -> None:
    """Counters never go back for Prometheus; what was connected is not any more."""
    stats = Stats(tmp_path / "s", 0, 1, Time())
    stats.answered(GRANTED)
    stats.gauge("connections", 5)
    stats.close()
    got = samples(Stats(tmp_path / "s", 0, 1, Time()))
    assert got["exeat_requests_total", GRANTED] == 1
    assert got["exeat_connections", "0"] == 0


def test_a_gauge_is_never_negative(tmp_path: Path) -> None:
    """A ticker that came early has no lag."""
    stats = Stats(tmp_path / "s", 0, 1, Time())
    stats.gauge("loop_lag_us", -3)
    assert samples(stats)["exeat_loop_lag_us", "0"] == 0


def test_refusals_before_authentication_are_sampled_and_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All are counted, one a second is logged, and no number of addresses makes it grow."""
    time = Time()
    stats = Stats(tmp_path / "s", 0, 1, time)
    with caplog.at_level(logging.INFO, "exeat.edge.stats"):
        for number in range(5000):
            stats.refused_before_authentication(f"10.0.{number // 256}.{number % 256}", "credential-rejected")
        assert len(caplog.records) == 1
        time.now += 2
        for _ in range(3):
            stats.refused_before_authentication("10.9.9.9", "credential-rejected")
    assert len(caplog.records) == 2
    assert samples(stats)["exeat_unauthenticated_total",] == 5003
    assert len(stats._refused) <= 1024


def test_the_page_is_private(tmp_path: Path) -> None:
    """Mode 600."""
    Stats(tmp_path / "s", 0, 1, Time())
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_numbers_of_workers_that_are_no_more_still_count(tmp_path: Path) -> None:
    """Fewer workers than before keep the sum."""
    for index in range(2):
        stats = Stats(tmp_path / "s", index, 2, Time())
        stats.answered(GRANTED)
        stats.close()
    alone = Stats(tmp_path / "s", 0, 1, Time())
    alone.answered(GRANTED)
    assert samples(alone)["exeat_requests_total", GRANTED] == 3


@pytest.mark.parametrize("found", [b"", b"other", b"exeatST1" + bytes(8) + bytes(64)])
def test_a_page_of_another_shape_begins_anew(tmp_path: Path, found: bytes) -> None:
    """Numbers of other columns would be shown under wrong names."""
    (tmp_path / "s").write_bytes(found)
    stats = Stats(tmp_path / "s", 0, 1, Time())
    stats.answered(GRANTED)
    got = samples(stats)
    assert got["exeat_requests_total", GRANTED] == 1
    assert sum(value for key, value in got.items() if key[0] == "exeat_requests_total") == 1
