"""From a call to its record in the control plane: once, over the deaths of everybody on the way, and in the roll-ups."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import httpx
import msgspec
import pytest

from actors.recorder.core import RecorderCore
from actors.recorder.uplink_client import UplinkClient
from models.planes.records import Batch
from models.secret import Secret
from scripts.up import status
from tests.kit import edge_region
from tests.kit.control import REGION, ControlHome
from tests.kit.edge import until
from tests.kit.linked import RegionThread, linked
from tests.kit.load import Load
from tests.kit.planes import RunningHome, running_home
from tests.kit.records import ClientsRecords, recount
from tests.kit.upstream import Answer, Upstream


class RecorderThere:
    """The region's recorder, as `exeat actors` would run it, but in the test's region: a new core with each `start`."""

    def __init__(self, plane: RegionThread, key: Path) -> None:
        self._plane, self._key = plane, key

    def start(self, control_url: str) -> None:
        """From here on batches go to this control plane."""

        async def work() -> None:
            self._client = UplinkClient(control_url, REGION, lambda: Secret(self._key.read_bytes().strip()))
            core = self._core = RecorderCore(self._client)

            async def take(payload: bytes) -> bytes:
                return msgspec.msgpack.encode(await core.take(msgspec.msgpack.decode(payload, type=Batch)))

            self._plane.region.others["Recorder", "take"] = take

        self._plane.do(work())

    def stop(self) -> None:
        """It ends, whatever it was at."""

        async def work() -> None:
            self._plane.region.others.clear()
            await self._core.close()
            await self._client.close()

        self._plane.do(work())


def test_every_call_has_one_record_upstairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorder restarted, control plane away, keeper and a worker killed: the records are those of the calls.

    They can be read over the API, and the roll-ups say the same.
    """
    control_home = ControlHome(tmp_path / "installation")
    with (
        control_home.running() as control,
        Upstream(lambda _: Answer(body=b"ok")) as upstream,
        linked(tmp_path, workers=2) as (plane, edge),
    ):
        made = control.http.post("/clients", json={"clientName": "acme"}).json()["clients"][0]["clientId"]
        monkeypatch.setattr(edge_region, "CLIENT", made)
        recorder = RecorderThere(plane, control_home.home.region(REGION).key)
        recorder.start(control.url)
        plane.attend()
        plane.do(plane.region.sample(upstream.url))
        edge.wait_ready()
        records = ClientsRecords(control.http, made)

        assert edge.get("/api/api/first").status == 200
        answered = time.monotonic()
        until(lambda: records.count() == 1, 5, "a record")
        assert time.monotonic() - answered < 5.0
        [first] = records.all()
        assert (first["path"], first["status"], first["clientId"]) == ("/first", 200, made)

        with Load(edge.port, "/api/api/load", keepalive=8) as load:
            load.wait(50)
            recorder.stop()
            recorder.start(control.url)
            load.wait(50)
            os.kill(edge.children("exeat-keeper")[0], signal.SIGKILL)
            recorder.stop()
            load.wait(50)
            os.kill(edge.children("exeat-worker")[0], signal.SIGKILL)
            load.wait(50)
            recorder.start(control.url)
            load.wait(20)
        reached = Counter(seen.target for seen in upstream.seen)
        until(lambda: records.count() >= reached.total(), 20, "all records")
        until(lambda: edge.ready()["spoolDepth"] == 0, 10, "an empty spool")

        found = records.all()
        assert Counter(one["path"] for one in found) == reached
        assert len({one["requestId"] for one in found}) == len(found)
        assert records.telemetry() == recount(found)
        recorder.stop()


CALLS = 50_000
AWAY_SECONDS = 20.0


def processes(home: RunningHome, part: str) -> list[int]:
    """Of a part, looked up in this process: the machine has enough to do."""
    return [row.pid for row in status.rows(home.root) if row.part == part and row.pid]


def killed(home: RunningHome, part: str) -> None:
    """One process of a part, which is another one on return."""
    before = until(lambda: processes(home, part), 30, part)
    os.kill(before[0], signal.SIGKILL)
    until(
        lambda: len(now := processes(home, part)) >= len(before) and before[0] not in now,
        60,
        f"another process of {part}",
    )


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_fifty_thousand_calls_have_their_records_whoever_dies(tmp_path: Path) -> None:
    """The recorder killed five times, the control plane away for 20 s, a worker killed: a record for each call that
    reached the target, each once, and roll-ups that equal them.
    """
    with (
        Upstream(lambda _: Answer(body=b"ok")) as upstream,
        running_home(tmp_path / "home", regions=(REGION,)) as home,
    ):
        governed = home.govern(upstream.url)
        # At most 800 a second: or a fast machine has made all of them before the 20 s are over.
        with Load(
            governed.port, governed.path, key=governed.key, keepalive=16, limit=CALLS, pace=0.02
        ) as load:
            for _ in range(2):
                load.wait(CALLS // 12, 120)
                killed(home, "recorder")
            load.wait(CALLS // 12, 120)
            control = processes(home, "control")[0]
            os.kill(control, signal.SIGSTOP)
            away = time.monotonic()
            killed(home, "recorder")
            load.wait(CALLS // 12, 120)
            killed(home, "worker")
            until(lambda: time.monotonic() - away >= AWAY_SECONDS, AWAY_SECONDS + 5, "20 s")
            os.kill(control, signal.SIGCONT)
            back = time.monotonic()
            for _ in range(2):
                killed(home, "recorder")
                load.wait(CALLS // 12, 120)
            load.finished(300)
        ended = time.monotonic()
        reached = {seen.target for seen in upstream.seen}
        with httpx.Client(
            base_url=f"{home.control_url}/v1",
            headers={"authorization": home.token},
            timeout=30,
            trust_env=False,
        ) as http:
            records = ClientsRecords(http, governed.client_id)
            until(lambda: records.count() >= len(reached), 60, "all records")
            settled = time.monotonic()
            found = records.all()
            paths = Counter(one["path"] for one in found)
            assert set(paths.values()) == {1}
            assert reached <= paths.keys()
            assert len({one["requestId"] for one in found}) == len(found)
            assert records.telemetry() == recount(found)
        answered = {call.path.removeprefix(governed.path) for call in load.calls if call.status == 200}
        assert len(answered) > CALLS * 0.99
        assert answered <= {one["path"] for one in found if one["status"] in {200, "unknown"}}
        print(  # noqa: T201 - a measurement
            f"\n{len(found)} records; after the control plane was back {settled - back:.1f} s,"
            f" after the last call {settled - ended:.1f} s until all were there"
        )
