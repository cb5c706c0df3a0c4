"""The keeper as a real edge runs it: killed, held up, without a file to write to, while calls go on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from proxy_edge.records.keeper import records_file
from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.load import Load
from tests.kit.raw import RawClient, get
from tests.kit.upstream import Answer, Seen, Upstream


def short(_seen: Seen) -> Answer:
    """An answer that costs the target little."""
    return Answer(body=b'{"ok":true}')


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(short) as served:
        yield served


def ready(edge: EdgeProcess) -> dict[str, object]:
    """The body of /ready."""
    with RawClient(edge.port) as client:
        client.send(get("/ready", key=None))
        found: dict[str, object] = orjson.loads(client.answer().body)
        return found


def keeper(edge: EdgeProcess, *but: int) -> int:
    """The keeper's process id, once there is one that is not among `but`."""

    def found() -> int:
        pid = edge.keeper_pid()
        return 0 if pid in but else pid

    return int(until(found, 5, "a new keeper"))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that does nothing during the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_killed_keepers_cost_no_record_and_no_call(tmp_path: Path, upstream: Upstream) -> None:
    """Kill -9 under load, five times: another is there at once, every call is answered and recorded once."""
    # Room for what comes while the supervisor slows a keeper down that dies again and again.
    room = {"EXEAT_RECORD_SLOTS": "16384"}
    with running_edge(tmp_path, policy(upstream.url), workers=2, environment=room) as edge:
        victims: list[int] = []
        with Load(edge.port, keepalive=16) as load:
            for _ in range(5):
                load.wait(150)
                victims.append(keeper(edge, *victims))
                os.kill(victims[-1], signal.SIGKILL)
            keeper(edge, *victims)
            load.wait(50)
        assert load.statuses() == {200: len(load.calls)}
        records = edge.wait_records(len(load.calls))
        assert Counter(record["path"] for record in records) == Counter(
            call.path.removeprefix("/api/api") for call in load.calls
        )
        assert {record["status"] for record in records} == {200}


def test_record_is_readable_soon(tmp_path: Path, upstream: Upstream) -> None:
    """Well within the 5 s of API.md: also the first after a while, when the keeper looks less often."""
    with running_edge(tmp_path, policy(upstream.url)) as edge, RawClient(edge.port) as client:
        taken = []
        for number in range(1, 8):
            client.send(get("/api/api/x"))
            assert client.answer().status == 200
            answered = time.monotonic()
            edge.wait_records(number)
            taken.append(time.monotonic() - answered)
        assert sorted(taken)[3] < 0.5


def test_dead_workers_open_records_are_unknown_within_two_seconds(tmp_path: Path) -> None:
    """A worker killed in the middle of a call: the record of it is in the file 2 s later."""
    reached, release = threading.Event(), threading.Event()

    def hold(_seen: Seen) -> Answer:
        reached.set()
        release.wait(20)
        return Answer()

    with Upstream(hold) as upstream, running_edge(tmp_path, policy(upstream.url), workers=2) as edge:
        try:
            with RawClient(edge.port) as client:
                client.send(get("/api/api/held"))
                assert reached.wait(10)
                for pid in edge.worker_pids():
                    os.kill(pid, signal.SIGKILL)
                killed = time.monotonic()
                [record] = edge.wait_records(1)
                assert time.monotonic() - killed < 2.0
            assert (record["path"], record["status"]) == ("/held", "unknown")
        finally:
            release.set()


def test_full_ring_blocks_calls_until_the_keeper_is_back(tmp_path: Path, upstream: Upstream) -> None:
    """While it is held up calls are served as long as the ring has room, then refused; nothing of either is lost."""
    environment = {"EXEAT_RECORD_SLOTS": "16"}
    with running_edge(tmp_path, policy(upstream.url), environment=environment) as edge:
        with RawClient(edge.port) as client:
            with stopped(keeper(edge)):
                answers = []
                for number in range(20):
                    client.send(get(f"/api/api/{number}"))
                    answers.append(client.answer())
                assert [answer.status for answer in answers] == [200] * 16 + [503] * 4
                assert {answer.get("exeat-proxy-code") for answer in answers[16:]} == {"record-blocked"}
                assert ready(edge)["spoolDepth"] == 16
                assert edge.records() == []
            edge.wait_records(16)
            until(lambda: ready(edge)["spoolDepth"] == 0, 5, "an empty spool")
            client.send(get("/api/api/again"))
            assert client.answer().status == 200
        paths = [record["path"] for record in edge.wait_records(17)]
        assert paths == [*(f"/{number}" for number in range(16)), "/again"]
    assert len(edge.records()) == 17


def test_records_outlast_a_file_that_cannot_be_written(tmp_path: Path, upstream: Upstream) -> None:
    """With something else in its place calls go on and records wait, also over the death of everyone."""
    with running_edge(tmp_path, policy(upstream.url)) as edge, RawClient(edge.port) as client:
        path = records_file(edge.home / "home")
        client.send(get("/api/api/before"))
        assert client.answer().status == 200
        edge.wait_records(1)
        moved = path.rename(path.with_name("requests.ndjson.1"))
        path.mkdir()
        for name in ("one", "two"):
            client.send(get(f"/api/api/{name}"))
            assert client.answer().status == 200
        until(lambda: "records not accepted" in edge.log(), 5, "a word of it in the log")
        assert ready(edge)["spoolDepth"] == 2
        os.kill(keeper(edge), signal.SIGKILL)
        for pid in edge.worker_pids():
            os.kill(pid, signal.SIGKILL)
        path.rmdir()
        moved.rename(path)
        records = edge.wait_records(3, 10)
        assert [record["path"] for record in records] == ["/before", "/one", "/two"]


def test_stop_delivers_what_ended_last(tmp_path: Path, upstream: Upstream) -> None:
    """Every call that was answered is in the file when the edge has ended, and no ring is left."""
    with running_edge(tmp_path, policy(upstream.url), workers=2) as edge:
        with Load(edge.port, keepalive=16) as load:
            load.wait(100)
            assert edge.stop() == 0
        answered = {call.path.removeprefix("/api/api") for call in load.calls if call.status == 200}
    recorded = Counter(record["path"] for record in edge.records())
    assert answered <= recorded.keys()
    assert set(recorded.values()) == {1}
    assert list((edge.home / "home" / "ring").iterdir()) == []
