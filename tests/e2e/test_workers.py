"""Workers that are killed and edges that are stopped: who notices, what is written down, what stays exact.

Real processes and real signals; everything that is ended here is ended by its process id.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream, Peer
from tests.kit.load import Call, Load, far_from_midnight
from tests.kit.raw import RawClient, get
from tests.kit.upstream import Answer, Seen, Upstream


def short(_seen: Seen) -> Answer:
    """An answer that costs the target little."""
    return Answer(body=b'{"ok":true}')


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def kill(edge: EdgeProcess) -> int:
    """Kills the older worker, and returns its id once it is gone."""
    victim = edge.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in edge.worker_pids(), 5, "the end of the worker")
    return victim


def refuses(port: int) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # queued when the last listener closed
        return False
    return False


# -- a worker is killed -----------------------------------------------------------------------------


def test_kill_under_load_costs_only_what_was_in_flight_there(tmp_path: Path) -> None:
    """Of 32 busy connections and ever new ones only the killed worker's fail, none is refused, its place is taken in 2 s."""
    with Upstream(short) as upstream, running_edge(tmp_path, policy(upstream.url), workers=2) as edge:
        with Load(edge.port, keepalive=32, fresh=4) as load:
            until(lambda: len({call.worker for call in load.calls}) == 2, 20, "calls on both workers")
            load.wait(200)
            before = set(edge.worker_pids())
            killed = time.monotonic()
            victim_pid = kill(edge)
            dead = time.monotonic()

            def answered_since() -> set[str]:
                return {call.worker for call in load.calls if call.sent > dead and call.worker}

            until(lambda: len(answered_since()) == 2, 10, "answers of the new worker")
            back = min(call.ended for call in load.calls if call.worker == newcomer(load.calls, dead))
            load.wait(200)
        assert back - killed < 2.0
        after = set(edge.worker_pids())
        assert len(after) == 2
        assert victim_pid not in after
        assert len(before & after) == 1

        assert load.refused == 0
        [victim] = {call.worker for call in load.calls if call.worker and call.ended < killed} - {
            call.worker for call in load.calls if call.sent > dead
        }
        failed = [call for call in load.calls if call.status != 200]
        assert len(failed) <= 36
        assert {call.error for call in failed} <= {
            "IncompleteReadError",
            "ConnectionResetError",
            "BrokenPipeError",
        }
        latest: dict[int, str] = {}
        for call in load.calls:
            if call.status != 200:
                assert latest.get(call.connection, victim) == victim, call
            latest[call.connection] = call.worker
        check_records(edge, upstream, load.calls, victim)


def newcomer(calls: list[Call], dead: float) -> str:
    """The worker that answers now and did not before `dead`."""
    [worker] = {call.worker for call in calls if call.sent > dead and call.worker} - {
        call.worker for call in calls if call.ended < dead
    }
    return worker


def check_records(edge: EdgeProcess, upstream: Upstream, calls: list[Call], victim: str) -> None:
    """Whatever reached the target has exactly one record; `unknown` ones are the killed worker's."""
    reached = {seen.target for seen in upstream.seen}
    until(lambda: reached <= {record["path"] for record in edge.records()}, 5, "all records")
    records = edge.records()
    assert set(Counter(record["path"] for record in records).values()) == {1}
    ended = {call.path.removeprefix("/api/api"): call for call in calls}
    for record in records:
        call = ended[record["path"]]
        if record["status"] == "unknown":
            assert record["requestId"][:-8] == victim
            assert call.status == 0 or call.worker == victim
            assert (record["code"], record["durationMs"], record["upstream"]) == (None, None, None)
        else:
            assert (record["status"], record["code"]) == (200, "proxy-access-granted")
        assert call.worker in {"", record["requestId"][:-8]}


def on_both_workers(edge: EdgeProcess, stack: ExitStack) -> dict[str, RawClient]:
    """One idle connection to each of two workers."""
    found: dict[str, RawClient] = {}

    def connected() -> bool:
        client = stack.enter_context(RawClient(edge.port))
        client.send(get("/api/nobody/x"))
        found.setdefault((client.answer().get("exeat-request-id") or "")[:-8], client)
        return len(found) == 2

    until(connected, 20, "a connection to each worker")
    return found


def test_open_record_of_a_killed_worker_ends_unknown(tmp_path: Path) -> None:
    """Of two calls in flight on two workers, the killed one's ends with `status: unknown`, the other one is answered."""
    with (
        HandUpstream() as target,
        running_edge(tmp_path, policy(target.url), workers=2) as edge,
        ExitStack() as stack,
    ):
        clients = on_both_workers(edge, stack)
        peers: dict[str, Peer] = {}
        for worker, client in clients.items():
            client.send(get(f"/api/api/{worker}?a=1"))
            peer = stack.enter_context(target.accept())
            peers[peer.head().target] = peer
        kill(edge)
        lost = []
        for worker, client in clients.items():
            peer = peers[f"/{worker}?a=1"]
            try:
                peer.answer(b"answered")
                assert client.answer().body == b"answered"
            except (EOFError, ConnectionError):
                assert peer.closed()
                lost.append(worker)
        assert len(lost) == 1
        records = {record["path"]: record for record in edge.wait_records(2)}
        assert records.keys() == {f"/{worker}" for worker in clients}
        orphan = records[f"/{lost[0]}"]
        assert orphan["requestId"].startswith(lost[0])
        assert {name: orphan[name] for name in ("status", "code", "method", "query", "credentialId")} == {
            "status": "unknown",
            "code": None,
            "method": "GET",
            "query": "a=1",
            "credentialId": "caller",
        }
        [survivor] = [record for path, record in records.items() if path != f"/{lost[0]}"]
        assert survivor["status"] == 200


def test_only_worker_killed_is_waited_for(tmp_path: Path) -> None:
    """With the one worker killed a connection is accepted by the kernel and answered by its successor within 2 s."""
    with Upstream(short) as upstream, running_edge(tmp_path, policy(upstream.url)) as edge:
        kill(edge)
        began = time.monotonic()
        with RawClient(edge.port) as client:
            client.send(get("/api/api/x"))
            assert client.answer().status == 200
        assert time.monotonic() - began < 2.0


def test_limit_is_exact_over_two_workers(tmp_path: Path) -> None:
    """Of 300 calls on many connections to two workers exactly the 200 of the limit pass."""
    far_from_midnight()
    with (
        Upstream(short) as upstream,
        running_edge(tmp_path, policy(upstream.url, proxyMaxRequestsPerDay=200), workers=2) as edge,
    ):
        with ExitStack() as stack:
            on_both_workers(edge, stack)
        with Load(edge.port, keepalive=16, fresh=4, limit=300) as load:
            load.finished()
        assert load.statuses() == {200: 200, 429: 100}
        assert len(upstream.seen) == 200
        assert len({call.worker for call in load.calls if call.status == 200}) == 2


def test_limit_holds_across_a_kill(tmp_path: Path) -> None:
    """A worker killed in between admits no call more: those that pass, and those that were lost, make up the limit."""
    far_from_midnight()
    with (
        Upstream(short) as upstream,
        running_edge(tmp_path, policy(upstream.url, proxyMaxRequestsPerDay=600), workers=2) as edge,
    ):
        with Load(edge.port, keepalive=16, fresh=4, limit=900) as load:
            load.wait(200)
            kill(edge)
            load.finished()
        statuses = load.statuses()
        assert statuses.keys() <= {200, 429, 0}
        assert 600 - statuses[0] <= statuses[200] <= 600
        assert len(upstream.seen) <= 600


# -- the edge is stopped ----------------------------------------------------------------------------


def test_sigterm_drains(tmp_path: Path) -> None:
    """Calls in flight end with 200 and `Connection: close`, nobody new is let in, the exit status is 0, no process is left."""
    with (
        HandUpstream() as target,
        running_edge(tmp_path, policy(target.url), workers=2) as edge,
        ExitStack() as stack,
    ):
        clients = on_both_workers(edge, stack)
        peers = {}
        for worker, client in clients.items():
            client.send(get(f"/api/api/{worker}"))
            peer = stack.enter_context(target.accept())
            peers[peer.head().target] = peer
        idle = stack.enter_context(RawClient(edge.port))
        pids = [edge.pid, *edge.worker_pids()]
        os.kill(edge.pid, signal.SIGTERM)
        until(lambda: refuses(edge.port), 5, "the end of listening")
        assert idle.closed()
        for worker, client in clients.items():
            peers[f"/{worker}"].answer(b"late")
            answer = client.answer()
            assert (answer.status, answer.body, answer.get("connection")) == (200, b"late", "close")
            assert client.closed()
        assert edge.stop() == 0
        assert not [pid for pid in pids if alive(pid)]
        assert {record["status"] for record in edge.records()} == {200}
        assert len(edge.records()) == 2


def test_sigterm_lets_an_answer_under_way_end(tmp_path: Path) -> None:
    """An answer whose head had left before the stop is completed, and its connection does not hold up the end."""
    with (
        HandUpstream() as target,
        running_edge(tmp_path, policy(target.url)) as edge,
        RawClient(edge.port) as client,
    ):
        client.send(get("/api/api/x"))
        with target.accept() as peer:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n#####")
            client.read_until(b"#####")
            os.kill(edge.pid, signal.SIGTERM)
            until(lambda: refuses(edge.port), 5, "the end of listening")
            began = time.monotonic()
            peer.send(b"+++++")
            client.read_until(b"+++++")
            assert client.closed()
            assert edge.stop() == 0
            assert time.monotonic() - began < 5.0


def test_sigterm_does_not_wait_for_idle_connections(tmp_path: Path) -> None:
    """Connections without a request, whatever they did before, end the moment the edge stops."""
    with (
        Upstream(short) as upstream,
        running_edge(tmp_path, policy(upstream.url)) as edge,
        RawClient(edge.port) as used,
        RawClient(edge.port) as silent,
        RawClient(edge.port) as begun,
    ):
        begun.send(b"GET /metri")
        used.send(get("/api/api/x"))
        assert used.answer().status == 200
        began = time.monotonic()
        assert edge.stop() == 0
        assert time.monotonic() - began < 5.0
        assert [client.closed() for client in (used, silent, begun)] == [True] * 3


def test_sigterm_begins_nothing_more(tmp_path: Path) -> None:
    """A request pipelined behind the one in flight is not begun: the caller is told to close, and asks again elsewhere."""
    with (
        HandUpstream() as target,
        running_edge(tmp_path, policy(target.url)) as edge,
        RawClient(edge.port) as client,
    ):
        client.send(get("/api/api/x") + get("/api/api/y"))
        with target.accept() as peer:
            peer.head()
            os.kill(edge.pid, signal.SIGTERM)
            until(lambda: refuses(edge.port), 5, "the end of listening")
            peer.answer(b"last")
            answer = client.answer()
            assert (answer.body, answer.get("connection")) == (b"last", "close")
            assert client.closed()
            assert peer.closed()


def test_killed_supervisor_takes_its_workers_along(tmp_path: Path) -> None:
    """Kill -9 of the supervisor ends its workers, and home and port are free for the next edge."""
    with Upstream(short) as upstream, running_edge(tmp_path, policy(upstream.url), workers=2) as edge:
        workers = edge.worker_pids()
        assert edge.stop(signal.SIGKILL) == -signal.SIGKILL
        until(lambda: not any(alive(pid) for pid in workers), 5, "the end of the workers")
        until(lambda: refuses(edge.port), 5, "the end of listening")
        edge.output.unlink()
        edge.start()
        with RawClient(edge.port) as client:
            client.send(get("/api/api/x"))
            assert client.answer().status == 200


# -- two edges --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_edge(tmp_path_factory.mktemp("first"), policy("http://127.0.0.1:9")) as edge:
        yield edge


def start_beside(first: EdgeProcess, folder: Path, *, home: bool) -> str:
    """What a second edge says that uses the first one's home, or its port."""
    second = EdgeProcess(folder, policy("http://127.0.0.1:9"), environment={"EXEAT_LOG_STDERR": "false"})
    if home:
        second.home = first.home
    else:
        second.port = first.port
    try:
        with pytest.raises(AssertionError, match="edge ended with 78"):
            second.start()
    finally:
        second.kill()
    with RawClient(first.port) as client:
        client.send(get("/ready", key=None))
        assert json.loads(client.answer().body)["ready"]
    return second.output.read_text()


def test_second_edge_in_one_home_is_refused(first: EdgeProcess, tmp_path: Path) -> None:
    """One home has one edge: the second ends with status 78 and names the setting and the first one's process."""
    said = start_beside(first, tmp_path, home=True)
    assert said.startswith("exeat: EXEAT_HOME: an edge ")
    assert f"(process {first.pid}) already runs in {first.home / 'home'}" in said
    assert said.count("\n") == 1


def test_port_in_use_is_refused(first: EdgeProcess, tmp_path: Path) -> None:
    """A taken port ends the second edge with status 78, and one line names address and setting."""
    said = start_beside(first, tmp_path, home=False)
    assert said == f"exeat: EXEAT_PORT: 127.0.0.1:{first.port} is already in use\n"
