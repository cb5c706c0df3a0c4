"""What the benchmarks share as programs: exit statuses, words, and what they write."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.bench import program
from scripts.bench.errors import LoadError, PeerError
from scripts.bench.program import Result, counted, parser, run
from sdk import CallFailed


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A run sets what SIGTERM does, for good."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def raising(error: BaseException) -> Callable[[], Result]:
    """A measurement that ends so."""

    def measure() -> Result:
        raise error

    return measure


def test_a_result_is_printed_and_written_with_its_machine(tmp_path: Path) -> None:
    """In a file named for time and kind, in a directory that need not be there."""
    said: list[str] = []
    result = Result("three lines", {"p50": 1.5}, [{"wrote": 1.0}])
    assert run("speed", tmp_path / "new", lambda: result, said.append) == 0
    (path,) = (tmp_path / "new").iterdir()
    assert path.name.endswith("Z-speed.json")
    assert said == ["three lines", f"written: {path}"]
    found = json.loads(path.read_text())
    assert (found["version"], found["kind"], found["samples"]) == (1, "speed", [{"wrote": 1.0}])
    assert found["figures"] == {"p50": 1.5}
    assert found["machine"]["cores"]
    assert path.name.startswith(found["at"].replace(":", "").replace(".", "-"))


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (PeerError("failed: no ports are free"), 1, "speed: failed: no ports are free"),
        (LoadError("a call had no answer"), 1, "speed: a call had no answer"),
        (CallFailed("GET /v1/x: no answer"), 1, "speed: GET /v1/x: no answer"),
        (KeyboardInterrupt(), program.INTERRUPTED, "interrupted; everything is stopped"),
    ],
    ids=["peer", "load", "call", "interrupt"],
)
def test_what_cannot_be_measured_is_said_and_nothing_is_written(
    tmp_path: Path, error: BaseException, status: int, words: str
) -> None:
    """One line with the reason."""
    said: list[str] = []
    assert run("speed", tmp_path / "new", raising(error), said.append) == status
    assert said == [words]
    assert not (tmp_path / "new").exists()


def test_a_signal_ends_every_block(tmp_path: Path) -> None:
    """What was started ends with the block in which it was started."""
    ended = []

    def measure() -> Result:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            return Result("", {}, [])
        finally:
            ended.append(True)

    with pytest.raises(SystemExit) as stopped:
        run("speed", tmp_path, measure)
    assert (stopped.value.code, ended) == (143, [True])


def test_numbers_are_counted_from_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The option is named."""
    options = parser("speed", "How fast.")
    options.add_argument("--rounds", type=int, default=3)
    assert counted(options, [], "rounds").rounds == 3
    assert counted(options, ["--results", "x"], "rounds").results == Path("x")
    with pytest.raises(SystemExit):
        counted(options, ["--rounds", "0"], "rounds")
    assert "--rounds: at least 1" in capsys.readouterr().err
