"""What /metrics of a running edge says: well-formed, added up over the workers, moved by what happens, silent about whom."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.errors import refusals
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream
from tests.kit.load import Load
from tests.kit.raw import RawClient, get, request
from tests.kit.upstream import Answer, Seen, Upstream

Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def answer(seen: Seen) -> Answer:
    """Ten bytes; under `/echo` the secret as well."""
    return Answer(body=b"ten bytes." + (TARGET_TOKEN.encode() if seen.target == "/echo" else b""))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(answer) as server:
        yield server


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[EdgeProcess]:
    document = policy(
        upstream.url,
        proxyMaxRequestsPerDay=1_000_000,
        rules=[{"ruleId": "no-admin", "effect": "deny", "path": {"pattern": "^/admin"}}],
    )
    with running_edge(tmp_path_factory.mktemp("metrics"), document, workers=2) as process:
        yield process


def scrape(edge: EdgeProcess) -> str:
    with RawClient(edge.port) as client:
        client.send(get("/metrics", key=None))
        reply = client.answer()
    assert (reply.status, reply.get("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return reply.body.decode()


def numbers(edge: EdgeProcess) -> Numbers:
    """Every sample by name and labels; the parser refuses what Prometheus would."""
    found: Numbers = {}
    for family in text_string_to_metric_families(scrape(edge)):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def counter(name: str, **labels: str) -> Callable[[Numbers], float]:
    return lambda found: found[f"exeat_{name}", tuple(labels.items())]


def counters(found: Numbers) -> Numbers:
    return {
        key: value for key, value in found.items() if key[0].endswith(("_total", "_bucket", "_count", "_sum"))
    }


def answers(found: Numbers) -> float:
    return sum(value for (name, _), value in found.items() if name == "exeat_requests_total")


def moved(edge: EdgeProcess, *requests: bytes) -> Callable[..., float]:
    """Sends the requests, each on a connection of its own; how far a counter moved by that."""
    before = numbers(edge)
    for data in requests:
        with RawClient(edge.port) as client:
            client.send(data)
            client.answer()
    # A worker counts after it has answered, and another one may be asked before that.
    until(lambda: answers(numbers(edge)) == answers(before) + len(requests), 5, "all answers counted")
    until(lambda: counters(numbers(edge)) == counters(numbers(edge)), 5, "counters at rest")
    after = numbers(edge)
    return lambda name, **labels: counter(name, **labels)(after) - counter(name, **labels)(before)


def test_every_code_is_there_from_the_start(edge: EdgeProcess) -> None:
    """All codes of the contract have a sample, so that a rate can be taken of the first one."""
    codes = {labels[0][1] for name, labels in numbers(edge) if name == "exeat_requests_total"}
    assert codes >= {kind.code for kind in refusals()} | {"proxy-access-granted"}


def test_answers_are_counted_by_code(edge: EdgeProcess) -> None:
    """Granted, denied, unauthenticated, unknown and malformed requests each move their own counter."""
    change = moved(
        edge,
        get("/api/api/x"),
        get("/api/api/y"),
        get("/api/api/admin"),
        get("/api/api/x", key=None),
        get("/api/nobody/x"),
        get("/api/api//x"),
        b"nonsense\r\n\r\n",
    )
    expected = {
        "proxy-access-granted": 2,
        "rule-denied": 1,
        "credential-rejected": 1,
        "proxy-unknown": 1,
        "request-malformed": 2,
    }
    for code in {kind.code for kind in refusals()} | expected.keys():
        assert change("requests_total", code=code) == expected.get(code, 0), code
    assert change("unauthenticated_total") == 4


def test_volume_time_and_masks(edge: EdgeProcess) -> None:
    """Body bytes both ways, masks and durations move with authenticated requests; strangers move none of them."""
    change = moved(
        edge,
        request("POST", "/api/api/x", body=b"seven.."),
        get("/api/api/echo"),
        get("/api/api/x", key=None),
    )
    assert change("bytes_in_total") == 7
    assert change("bytes_out_total") == 20 + len(TARGET_TOKEN)
    assert change("masks_total") == 1
    assert change("request_duration_seconds_count") == 2
    assert 0 < change("request_duration_seconds_sum") < 20
    assert change("request_duration_seconds_bucket", le="+Inf") == 2
    assert change("records_lost_total") == 0


def test_buckets_add_up(edge: EdgeProcess) -> None:
    """Each bucket holds the ones below it, and the last all of them."""
    found = numbers(edge)
    buckets = sorted(
        (float(labels[0][1]), value)
        for (name, labels), value in found.items()
        if name == "exeat_request_duration_seconds_bucket"
    )
    values = [value for _, value in buckets]
    assert len(buckets) > 10
    assert values == sorted(values)
    assert values[-1] == counter("request_duration_seconds_count")(found)


def test_both_workers_are_added_up_whoever_answers(edge: EdgeProcess) -> None:
    """A hundred calls over both workers are a hundred, in every scrape, whichever worker is asked."""
    before = counter("requests_total", code="proxy-access-granted")(numbers(edge))
    with Load(edge.port, keepalive=4, fresh=4, limit=100) as load:
        load.finished()
    assert len({call.worker for call in load.calls}) == 2
    granted = counter("requests_total", code="proxy-access-granted")
    until(lambda: granted(numbers(edge)) >= before + 100, 5, "all of them")
    assert {granted(numbers(edge)) for _ in range(10)} == {before + 100}


def test_gauges_are_told_per_worker(edge: EdgeProcess) -> None:
    """Connections, policy revision and broken proxies have a sample for each worker."""

    def gauge(name: str) -> list[float]:
        found = numbers(edge)
        return [counter(name, worker=str(worker))(found) for worker in (0, 1)]

    assert gauge("policy_revision") == [1, 1]
    assert gauge("broken_proxies") == [0, 0]
    until(lambda: sum(gauge("connections")) <= 1, what="no connection but the scrape's")
    with ExitStack() as stack:
        for _ in range(7):
            client = stack.enter_context(RawClient(edge.port))
            client.send(get("/health", key=None))
            client.answer()
        until(lambda: sum(gauge("connections")) >= 7, what="seven connections")
    until(lambda: sum(gauge("connections")) <= 1, what="none")
    until(lambda: sum(gauge("record_depth")) == 0, what="every record delivered")


def test_aborted_and_cut_off_answers_are_counted(edge: EdgeProcess, upstream: Upstream) -> None:
    """A caller that leaves and a target that breaks inside its answer have codes of their own."""
    with HandUpstream() as target:
        edge.write_policy(policy(target.url))
        until(lambda: counter("policy_revision", worker="0")(numbers(edge)) == 2, 5, "the edit")
        until(lambda: counter("policy_revision", worker="1")(numbers(edge)) == 2, 5, "the edit")
        before = numbers(edge)
        with RawClient(edge.port) as leaving:
            leaving.send(get("/api/api/x"))
            peer = target.accept()
            peer.head()
        with peer:
            assert peer.closed()
        with RawClient(edge.port) as client:
            client.send(get("/api/api/y"))
            with target.accept() as peer:
                peer.head()
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n####")
                client.read_until(b"####")
            with pytest.raises(ConnectionResetError):
                client.read_until(b"never")

        def change(code: str) -> float:
            value = counter("requests_total", code=code)
            return value(numbers(edge)) - value(before)

        until(lambda: (change("client-aborted"), change("answer-cut-off")) == (1, 1), 5, "both counts")
    edge.write_policy(policy(upstream.url))
    until(lambda: counter("policy_revision", worker="0")(numbers(edge)) == 3, 5, "the edit")


def test_counts_outlive_a_killed_worker(edge: EdgeProcess) -> None:
    """A worker that is killed takes no count with it, and its successor counts on."""
    moved(edge, get("/api/api/x"))
    before = numbers(edge)
    victim = edge.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in edge.worker_pids() and len(edge.worker_pids()) == 2, 5, "its successor")
    after = numbers(edge)
    for key, value in counters(before).items():
        assert after[key] >= value, key


def test_nothing_of_a_request_is_shown(edge: EdgeProcess) -> None:
    """No secret, path, query, address, proxy, credential or host is in the metrics, whoever put it there."""
    moved(
        edge,
        get("/api/api/needle-path?needle-query=1", "User-Agent: needle-agent", "X-Needle: needle-header"),
        get("/api/needle-proxy/x", "X-Forwarded-For: 192.0.2.77"),
        get("/api/api/x", key="needle-credential-0123456789"),
        get("/api/api/echo"),
    )
    text = scrape(edge)
    hosts = {"127.0.0.1", "localhost", socket.gethostname(), "edge.test", "192.0.2.77"}
    names = {"acme", "proxy-one", "no-admin", "api/"}
    assert not [one for one in (CALLER_KEY, TARGET_TOKEN, "needle", *hosts, *names) if one in text.lower()]
    assert {name for _, labels in numbers(edge) for name, _ in labels} == {"code", "worker", "le"}
