"""Invariant 9: no record is lost.

Whatever reached a target has one record in the end: through a sink that takes nothing for a while, a full
ring or spool, a recorder that is away or forgets to answer, and the death of worker, keeper or the whole edge. What
could not be recorded was refused or counted.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.errors import PeerUnavailable
from models.planes.records import Batch, Taken
from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.linked import LinkedEdge, RegionThread, linked
from tests.kit.load import Load
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Answer, Upstream

SLOTS = 8


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(lambda _: Answer(body=b"ok")) as server:
        yield server


@contextmanager
def unwritable_sink(edge: EdgeProcess) -> Iterator[None]:
    """While the block runs, a file stands where the sink's folder was."""
    records = edge.home / "home" / "records"
    aside = records.with_name("aside")
    records.rename(aside)
    records.write_text("in the way")
    try:
        yield
    finally:
        records.unlink()
        aside.rename(records)


def ask(edge: EdgeProcess, *paths: str) -> list[RawAnswer]:
    answers = []
    with RawClient(edge.port) as client:
        for path in paths:
            client.send(get(f"/api/api{path}"))
            answers.append(client.answer())
    return answers


def statuses(answers: list[RawAnswer]) -> Counter[tuple[int, str | None]]:
    return Counter((answer.status, answer.get("exeat-proxy-code")) for answer in answers)


GRANTED = (200, "proxy-access-granted")
BLOCKED = (503, "record-blocked")


def recorded(edge: EdgeProcess, paths: list[str]) -> None:
    """Waits until each of these paths has a record, and checks that no request has two."""
    until(lambda: set(paths) <= {one["path"] for one in edge.records()}, 15, "all records")
    ids = [one["requestId"] for one in edge.records()]
    assert len(ids) == len(set(ids))


def lost(edge: EdgeProcess) -> int:
    with RawClient(edge.port) as client:
        client.send(get("/metrics", key=None))
        lines = client.answer().body.decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("exeat_records_lost_total")).split()[1]))


def test_calls_go_on_while_the_sink_takes_nothing(tmp_path: Path, upstream: Upstream) -> None:
    """A sink that fails costs no call; when it is back, every record arrives once, in whole lines."""
    with running_edge(tmp_path, policy(upstream.url), workers=2) as edge:
        before = [f"/before/{number}" for number in range(5)]
        assert statuses(ask(edge, *before)) == {GRANTED: 5}
        recorded(edge, before)
        meanwhile = [f"/meanwhile/{number}" for number in range(200)]
        with unwritable_sink(edge):
            assert statuses(ask(edge, *meanwhile)) == {GRANTED: 200}
            until(lambda: "records not accepted" in edge.log(), 5, "the failure in the log")
            os.kill(edge.worker_pids()[0], signal.SIGKILL)
            os.kill(edge.worker_pids()[1], signal.SIGKILL)
            assert statuses(ask(edge, "/successor")) == {GRANTED: 1}
        recorded(edge, [*before, *meanwhile, "/successor"])
        assert "records accepted again" in edge.log()
        assert lost(edge) == 0


def test_records_wait_for_the_next_start(tmp_path: Path, upstream: Upstream) -> None:
    """An edge that is stopped, or killed, while its sink takes nothing delivers after the next start."""
    with running_edge(tmp_path, policy(upstream.url)) as edge:
        paths = []
        for number, ending in enumerate((signal.SIGTERM, signal.SIGKILL)):
            paths += [f"/round-{number}/{call}" for call in range(20)]
            with unwritable_sink(edge):
                assert statuses(ask(edge, *paths[-20:])) == {GRANTED: 20}
                edge.stop(ending)
            edge.output.unlink()
            edge.start()
            recorded(edge, paths)


def test_full_ring_blocks(tmp_path: Path, upstream: Upstream) -> None:
    """With `block` a call that cannot be recorded is not sent: 503 `record-blocked`, until there is room again."""
    environment = {"EXEAT_RECORD_SLOTS": str(SLOTS)}
    with running_edge(
        tmp_path, policy(upstream.url, proxyMaxRequestsPerDay=1000), environment=environment
    ) as edge:
        before = len(upstream.seen)
        paths = [f"/block/{number}" for number in range(2 * SLOTS)]
        with unwritable_sink(edge):
            answers = ask(edge, *paths)
            assert statuses(answers) == {GRANTED: SLOTS, BLOCKED: SLOTS}
            assert answers[-1].get("content-type") == "application/problem+json"
            assert f'"day";r={1000 - SLOTS};' in str(answers[-1].get("ratelimit"))  # it consumed nothing
            assert len(upstream.seen) == before + SLOTS
        recorded(edge, paths[:SLOTS])
        until(lambda: statuses(ask(edge, "/again")) == {GRANTED: 1}, 5, "room in the ring")
        recorded(edge, ["/again"])


def test_full_ring_drops_and_counts(tmp_path: Path, upstream: Upstream) -> None:
    """With `drop` calls go on without a record, and each of them is counted."""
    environment = {"EXEAT_RECORD_SLOTS": str(SLOTS)}
    document = policy(upstream.url, proxyRecordPolicy="drop")
    with running_edge(tmp_path, document, environment=environment) as edge:
        before = len(upstream.seen)
        paths = [f"/drop/{number}" for number in range(3 * SLOTS)]
        with unwritable_sink(edge):
            assert statuses(ask(edge, *paths)) == {GRANTED: 3 * SLOTS}
            assert len(upstream.seen) == before + 3 * SLOTS
            assert lost(edge) == 2 * SLOTS
        recorded(edge, paths[:SLOTS])
        until(lambda: statuses(ask(edge, "/again")) == {GRANTED: 1}, 5, "an answer")
        recorded(edge, ["/again"])
        assert len(edge.records()) == SLOTS + 1


def test_every_death_under_load_leaves_one_record_each(tmp_path: Path, upstream: Upstream) -> None:
    """Keeper, worker and then the whole edge are killed under load: what reached the target has one record, no less, no more."""
    before = len(upstream.seen)
    with running_edge(tmp_path, policy(upstream.url), workers=2) as edge:
        with Load(edge.port, "/api/api/deaths", keepalive=16) as load:
            for _ in range(3):
                load.wait(100)
                os.kill(edge.keeper_pid(), signal.SIGKILL)
                load.wait(100)
                os.kill(edge.worker_pids()[0], signal.SIGKILL)
                until(lambda: len(edge.worker_pids()) == 2, 5, "its successor")
            load.wait(100)
            edge.stop(signal.SIGKILL)
        edge.output.unlink()
        edge.start()
        reached = [seen.target for seen in upstream.seen[before:]]
        recorded(edge, reached)
        paths = Counter(one["path"] for one in edge.records())
        assert set(paths.values()) == {1}
        answered = {call.path.removeprefix("/api/api") for call in load.calls if call.status == 200}
        assert answered <= paths.keys()
        known = {one["path"] for one in edge.records() if one["status"] == 200}
        unknown = {one["path"] for one in edge.records() if one["status"] == "unknown"}
        assert known | unknown == paths.keys()
        assert (
            len(answered - known) <= 4
        )  # answered, and killed before the record could say so: once per kill at most
        assert lost(edge) == 0


class ForgetfulRecorder:
    """A region's recorder that is `away` when told so, and otherwise forgets every third time to say what it took."""

    def __init__(self, plane: RegionThread) -> None:
        self.away, self._asked = False, 0
        self._batches: dict[tuple[str, int], bytes] = {}
        plane.region.others["Recorder", "take"] = self._take

    async def _take(self, payload: bytes) -> bytes:
        if self.away:
            raise PeerUnavailable("away")
        batch = msgspec.msgpack.decode(payload, type=Batch)
        assert self._batches.setdefault((batch.source, batch.number), batch.lines) == batch.lines
        self._asked += 1
        if not self._asked % 3:
            raise PeerUnavailable("its answer was lost")
        return msgspec.msgpack.encode(Taken(source=batch.source, number=batch.number))

    def records(self) -> list[dict[str, Any]]:
        """Of every batch once; the control plane finds a batch that comes again by its number, as this does."""
        return [json.loads(line) for lines in list(self._batches.values()) for line in lines.splitlines()]

    def has(self, paths: set[str]) -> None:
        """Waits until each of these paths has a record, and checks that no request has two."""
        until(lambda: paths <= {one["path"] for one in self.records()}, 15, "all records upstairs")
        ids = [one["requestId"] for one in self.records()]
        assert len(ids) == len(set(ids))


def calls(edge: LinkedEdge, *paths: str) -> None:
    """Each is answered."""
    with RawClient(edge.port) as client:
        for path in paths:
            client.send(get(f"/api/api{path}"))
            assert client.answer().status == 200


def test_records_of_a_linked_edge_survive_everybody_on_their_way(tmp_path: Path, upstream: Upstream) -> None:
    """The recorder away or forgetful, no link at all, keeper and edge killed: each record arrives, in one batch."""
    with linked(tmp_path, workers=2) as (plane, edge):
        recorder = ForgetfulRecorder(plane)
        plane.attend()
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        until(lambda: edge.get("/api/api/warm").status == 200, 10, "both workers have it")
        paths = {f"/{step}/{number}" for step in range(4) for number in range(40)}

        def step(number: int) -> None:
            calls(edge, *(path for path in sorted(paths) if path.startswith(f"/{number}/")))

        step(0)
        recorder.has({path for path in paths if path.startswith("/0/")})
        until(lambda: edge.ready()["spoolDepth"] == 0, 10, "an empty spool")
        recorder.away = True
        step(1)
        until(
            lambda: b"\nexeat_spool_depth 40.0\n" in edge.get("/metrics", None).body,
            10,
            "the depth of the spool",
        )
        assert edge.ready()["spoolDepth"] == 40
        os.kill(edge.children("exeat-keeper")[0], signal.SIGKILL)
        step(2)
        plane.leave()
        step(3)
        until(lambda: edge.ready()["spoolDepth"] == 120, 10, "all records in the spool")
        edge.kill()
        recorder.away = False
        plane.attend()
        edge.start().wait_ready()
        recorder.has(paths)
        until(lambda: edge.ready()["spoolDepth"] == 0, 10, "an empty spool")
        assert {one["status"] for one in recorder.records()} == {200}


def test_a_full_spool_fills_the_ring_which_blocks(tmp_path: Path, upstream: Upstream) -> None:
    """No call is sent that could not be recorded; when the recorder is back, calls are served, and every record arrives."""
    with linked(tmp_path, spool_bytes="1000", record_slots=str(SLOTS)) as (plane, edge):
        recorder = ForgetfulRecorder(plane)
        recorder.away = True
        plane.attend()
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        served = ["/spool/1", "/spool/2", *(f"/ring/{number}" for number in range(SLOTS))]
        calls(edge, *served[:2])
        spool = edge.home / "spool"
        until(lambda: sum(path.stat().st_size for path in spool.glob("*.ndjson")) > 1000, 10, "a full spool")
        calls(edge, *served[2:])
        assert edge.get("/api/api/refused").get("exeat-proxy-code") == "record-blocked"
        assert not any(seen.target == "/refused" for seen in upstream.seen)
        assert edge.ready()["spoolDepth"] == len(served)
        recorder.away = False
        recorder.has(set(served))
        until(lambda: edge.get("/api/api/again").status == 200, 10, "room in the ring")
        recorder.has({*served, "/again"})
