"""wrk: its summary becomes a sample, and anything unclean becomes none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.bench import governance, upstream
from scripts.bench.errors import LoadError
from scripts.bench.governance import new_keys
from scripts.bench.load import wrk
from scripts.bench.processes import Processes, free_port

CLEAN = {
    "requests": 1000, "microseconds": 2_000_000, "bytes": 400_000, "status": 0, "socket": 0, "p50": 90.0, "p99": 300.5,
}  # fmt: skip


def output(**changes: float) -> str:
    """What wrk prints, with the line of our script."""
    return "Running 2s test\n  1 threads\nexeat-bench " + json.dumps({**CLEAN, **changes}) + "\n"


def test_a_clean_run_is_a_sample():
    """Seconds and microseconds."""
    sample = wrk.parse(output(), 250)
    assert (sample.requests, sample.seconds, sample.p50_us, sample.p99_us) == (1000, 2.0, 90.0, 300.5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": 7}, "7 of 1000 answers were errors"),
        ({"socket": 2}, "2 connections failed"),
        ({"requests": 0, "bytes": 0}, "no answer in time"),
        ({"bytes": 100_000}, "answers were too short (100 bytes each)"),
    ],
)
def test_anything_unclean_is_no_measurement(changes: dict[str, float], reason: str):
    """Wrk counts statuses above 399 only, so the size of the answers is looked at too."""
    with pytest.raises(LoadError) as failed:
        wrk.parse(output(**changes), 250)
    assert failed.value.detail == reason


def test_output_without_a_summary_is_no_measurement():
    """For example when wrk could not connect."""
    with pytest.raises(LoadError, match="no summary"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n", 250)


def test_headers_are_in_the_script():
    """So that no key stands in a process list."""
    assert 'wrk.headers["X-API-Key"] = "k"' in wrk.script({"X-API-Key": "k"})


def test_wrk_measures_the_target(tmp_path: Path):
    """The real program against the real target, and against nothing."""
    program = wrk.find_wrk()
    if program is None:
        pytest.skip("wrk is not installed")
    assert wrk.wrk_version(program)[0] != "u"
    options = {"connections": 4, "seconds": 1, "least_bytes": 250, "cores": frozenset[int]()}
    with Processes(tmp_path) as processes:
        target = upstream.start(processes, tmp_path, new_keys(), frozenset())
        url = f"http://127.0.0.1:{target.port}{governance.LOAD_PATH}"
        assert wrk.run(program, tmp_path, url, {}, **options).requests > 100
    with pytest.raises(LoadError):
        wrk.run(program, tmp_path, f"http://127.0.0.1:{free_port()}/", {}, **options)
