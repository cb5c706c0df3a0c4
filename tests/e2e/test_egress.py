"""Where targets may lie: forbidden addresses are refused, the operator's list opens some, our own port never opens.

Refused means 502 `target-forbidden` before a connection is tried; a loop through another program is 508.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Upstream

FORBIDDEN = {
    "loopback": "http://127.0.0.1:{port}",
    "loopback-elsewhere": "http://127.8.9.1:{port}",
    "loopback-name": "http://localhost:{port}",
    "loopback-6": "http://[::1]:{port}",
    "mapped": "http://[::ffff:127.0.0.1]:{port}",
    "compatible": "http://[::127.0.0.1]:{port}",
    "nat64": "http://[64:ff9b::127.0.0.1]:{port}",
    "six-to-four": "http://[2002:7f00:1::]:{port}",
    "unspecified": "http://0.0.0.0:{port}",
    "private-ten": "http://10.1.2.3:{port}",
    "private-twelve": "http://172.20.1.1:{port}",
    "private-sixteen": "http://192.168.1.1:{port}",
    "cgn": "http://100.64.0.1:{port}",
    "link-local": "http://169.254.1.1:{port}",
    "metadata": "http://169.254.169.254",
    "metadata-aws-6": "http://[fd00:ec2::254]",
    "metadata-alibaba": "http://100.100.100.200",
    "unique-local": "http://[fd12::1]:{port}",
    "multicast": "http://224.0.0.1:{port}",
    "broadcast": "http://255.255.255.255:{port}",
}


def many(urls: dict[str, str]) -> dict[str, Any]:
    """A policy with a proxy per entry, its alias being the name."""
    whole = policy(next(iter(urls.values())))
    target, proxy = whole["targets"][0], whole["proxies"][0]
    whole["targets"] = [{**target, "targetId": name, "targetBaseURL": url} for name, url in urls.items()]
    whole["proxies"] = [
        {**proxy, "proxyId": f"{name}-proxy", "proxyAlias": name, "proxyTargetId": name} for name in urls
    ]
    return whole


def call(edge: EdgeProcess, alias: str, *lines: str) -> RawAnswer:
    with RawClient(edge.port, 20.0) as client:
        client.send(get(f"/api/{alias}/call", *lines))
        return client.answer()


def forbidden(answer: RawAnswer) -> bool:
    """Whether it is a refusal of the address, which names no address."""
    assert b"127." not in answer.body
    return (answer.status, answer.get("exeat-proxy-code")) == (502, "target-forbidden")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeProcess, Upstream]]:
    """An edge that opens nothing, before a target that would answer on loopback."""
    with Upstream() as upstream:
        urls = {name: url.format(port=upstream.port) for name, url in FORBIDDEN.items()}
        home = tmp_path_factory.mktemp("closed")
        with running_edge(home, many(urls), environment={"EXEAT_EGRESS_ALLOW": ""}) as edge:
            yield edge, upstream


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_addresses_are_refused(closed: tuple[EdgeProcess, Upstream], name: str) -> None:
    """By default nothing that is not the public internet can be a target, in whatever spelling."""
    edge, upstream = closed
    before = upstream.connections
    assert forbidden(call(edge, name))
    assert upstream.connections == before
    record = until(
        lambda: next((one for one in edge.records() if one["proxyId"] == f"{name}-proxy"), None), 5
    )
    assert (record["status"], record["code"]) == (502, "target-forbidden")


def test_a_refusal_keeps_the_callers_connection(closed: tuple[EdgeProcess, Upstream]) -> None:
    """It is the target that is refused, not the caller: the next request is read."""
    edge, _ = closed
    with RawClient(edge.port) as client:
        for _ in range(3):
            client.send(get("/api/loopback/call"))
            assert forbidden(client.answer())


@pytest.mark.parametrize(
    ("allow", "open_aliases"),
    [
        ("127.0.0.1:{port}", {"loopback"}),
        ("127.0.0.0/8", {"loopback", "localhost", "other-port"}),
        ("127.0.0.1", {"loopback", "localhost", "other-port"}),
        ("localhost:{port}", {"localhost"}),
        ("10.0.0.0/8, [::1]:{port}", set()),
        ("127.0.0.1:{other}", {"other-port"}),
    ],
)
def test_the_operator_opens_networks_or_single_ports(
    tmp_path: Path, allow: str, open_aliases: set[str]
) -> None:
    """EXEAT_EGRESS_ALLOW opens exactly what it names."""
    with Upstream() as upstream, Upstream() as other:
        urls = {
            "loopback": upstream.url,
            "localhost": f"http://localhost:{upstream.port}",
            "other-port": other.url,
            "metadata": "http://169.254.169.254",
        }
        environment = {"EXEAT_EGRESS_ALLOW": allow.format(port=upstream.port, other=other.port)}
        with running_edge(tmp_path, many(urls), environment=environment) as edge:
            for alias in urls:
                answer = call(edge, alias)
                if alias in open_aliases:
                    assert answer.status == 200, alias
                elif alias == "localhost" and allow.startswith("127.0.0.1:{port}"):
                    assert answer.status == 200  # it resolves to the address and port that are open
                else:
                    assert forbidden(answer), alias
        assert len(upstream.seen) == len(
            (open_aliases | ({"localhost"} if allow == "127.0.0.1:{port}" else set())) - {"other-port"}
        )


def test_our_own_port_never_opens(tmp_path: Path) -> None:
    """A target that is the edge itself is refused by every address of the machine, whatever is allowed."""
    allowed = "127.0.0.0/8, ::1, 0.0.0.0/8, ::, localhost:{port}, 127.0.0.1:{port}"
    with Upstream() as upstream:
        home = tmp_path / "first"
        with running_edge(home, policy(upstream.url)) as edge:
            port = edge.port
        with EdgeProcess(
            tmp_path / "second",
            many(
                {
                    "address": f"http://127.0.0.1:{port}/api/through",
                    "elsewhere": f"http://127.0.0.2:{port}",
                    "name": f"http://localhost:{port}",
                    "unspecified": f"http://0.0.0.0:{port}",
                    "mapped": f"http://[::ffff:127.0.0.1]:{port}",
                    "through": upstream.url,
                }
            ),
            environment={"EXEAT_EGRESS_ALLOW": allowed.format(port=port)},
        ) as edge:
            edge_port_is_taken = edge.port != port
            if edge_port_is_taken:
                # A free port was asked for: name it in the policy now that it is known.
                text = edge.policy_path.read_text().replace(f":{port}", f":{edge.port}")
                edge.policy_path.write_text(text)
            until(lambda: forbidden(call(edge, "address")), 30)
            for alias in ("address", "elsewhere", "name", "unspecified", "mapped"):
                assert forbidden(call(edge, alias)), alias
            assert call(edge, "through").status == 200
        assert len(upstream.seen) == 1


def test_a_loop_through_another_program_ends_with_508(tmp_path: Path) -> None:
    """A target that sends the request back to us is found by our own name in `Via`."""
    with (
        HandUpstream() as upstream,
        running_edge(tmp_path, policy(upstream.url)) as edge,
        RawClient(edge.port) as client,
    ):
        client.send(get("/api/api/loop", "Via: 1.0 somebody-else"))
        with upstream.accept() as peer:
            head = peer.head()
            assert len(head.all("via")) == 2
            assert head.all("via")[0] == "1.0 somebody-else"
            # What a relay would do: the same request, back to the edge, with everything it got.
            lines = [f"Via: {value}" for value in head.all("via")]
            looped = call(edge, "api", *lines)
            assert (looped.status, looped.get("exeat-proxy-code")) == (508, "proxy-loop")
            looped = call(edge, "api", "Via: 1.1 before, " + head.all("via")[1] + ", 1.1 after")
            assert (looped.status, looped.get("exeat-proxy-code")) == (508, "proxy-loop")
            peer.answer(b"ok", "Connection: close")
        assert client.answer().body == b"ok"


def test_a_real_relay_ends_the_loop(tmp_path: Path) -> None:
    """Through a relay that forwards whatever it gets, a call comes back once and then ends."""
    with HandUpstream() as upstream, running_edge(tmp_path, policy(upstream.url)) as edge:
        heads = []

        def relay() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with upstream.accept() as peer:
                        head = peer.head()
                        heads.append(head)
                        with RawClient(edge.port) as onward:
                            lines = [f"Via: {value}" for value in head.all("via")]
                            onward.send(get("/api/api/again", *lines))
                            answer = onward.answer()
                            peer.answer(answer.body, "Connection: close", status=f"{answer.status} Relayed")

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        answer = call(edge, "api")
        assert answer.status == 508
        assert answer.get("exeat-proxy-code") == "proxy-access-granted"
        assert len(heads) == 1


def test_two_edges_in_a_row_are_no_loop(tmp_path: Path) -> None:
    """Another edge's name in `Via` is somebody else's: edges may stand behind one another."""
    with Upstream() as upstream:
        with running_edge(tmp_path / "inner", policy(upstream.url)) as inner:
            outer_policy = policy(
                f"http://127.0.0.1:{inner.port}/api/api",
                sender={"credentialSecret": {"token": {"env": "TEST_CALLER_KEY"}}},
            )
            with running_edge(tmp_path / "outer", outer_policy) as outer:
                assert call(outer, "api").status == 200
        assert len(upstream.seen) == 1
        assert len(upstream.seen[0].all("via")) == 2
