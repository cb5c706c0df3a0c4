"""Targets over TLS are verified before a byte is sent; a connection of one authority serves no other."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import yaml

from tests.kit.edge import TARGET_TOKEN, EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawClient, get, request
from tests.kit.tls import AUTHORITY, ended_badly, status
from tests.kit.upstream import Upstream

STRANGER = trustme.CA()


def serving(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


@pytest.fixture(scope="module")
def towards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeProcess, dict[str, Upstream]]]:
    """An edge before TLS targets, one per alias: right and wrong ones."""
    with contextlib.ExitStack() as stack:
        upstreams = {
            "named": Upstream(tls=serving(AUTHORITY, "localhost")),
            "address": Upstream(tls=serving(AUTHORITY, "127.0.0.1")),
            "other-name": Upstream(tls=serving(AUTHORITY, "other.example", "127.0.0.2")),
            "stranger": Upstream(tls=serving(STRANGER, "localhost", "127.0.0.1")),
            "no-ca": Upstream(tls=serving(AUTHORITY, "localhost", "127.0.0.1")),
            "old": Upstream(tls=old_versions(serving(AUTHORITY, "127.0.0.1"))),
            "plain": Upstream(),
        }
        document = policy("http://127.0.0.1:9")
        for name, upstream in upstreams.items():
            stack.enter_context(upstream)
            host = "localhost" if name == "named" else "127.0.0.1"
            target = {
                **document["targets"][0],
                "targetId": name,
                "targetBaseURL": f"https://{host}:{upstream.port}/base",
                "targetCA": pem(AUTHORITY),
            }
            if name == "no-ca":
                del target["targetCA"]
            document["targets"].append(target)
            document["proxies"].append(
                {
                    **document["proxies"][0],
                    "proxyId": f"{name}-proxy",
                    "proxyAlias": name,
                    "proxyTargetId": name,
                }
            )
        home = tmp_path_factory.mktemp("towards")
        yield stack.enter_context(running_edge(home, document)), upstreams


def old_versions(context: ssl.SSLContext) -> ssl.SSLContext:
    """A server that speaks nothing newer than TLS 1.1 (RFC 8996 ended it)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.parametrize("alias", ["named", "address"])
def test_a_target_with_the_right_certificate_is_called(
    towards: tuple[EdgeProcess, dict[str, Upstream]], alias: str
) -> None:
    """Chain and name are verified against targetCA; then the call is like any other, on kept connections."""
    edge, upstreams = towards
    with RawClient(edge.port) as client:
        for number in range(3):
            client.send(request("POST", f"/api/{alias}/call/{number}", body=b"x" * 100_000))
            answer = client.answer()
            assert answer.status == 200
            assert json.loads(answer.body)["length"] == 100_000
    seen = upstreams[alias].seen[-1]
    assert seen.target == "/base/call/2"
    assert seen.get("authorization") == f"Bearer {TARGET_TOKEN}"
    host = "localhost" if alias == "named" else "127.0.0.1"
    assert seen.get("host") == f"{host}:{upstreams[alias].port}"
    assert upstreams[alias].connections == 1


@pytest.mark.parametrize("alias", ["other-name", "stranger", "no-ca", "old", "plain"])
def test_a_target_that_cannot_be_verified_gets_nothing(
    towards: tuple[EdgeProcess, dict[str, Upstream]], alias: str
) -> None:
    """Another name, another authority, no authority of its own, an old version, no TLS: 502 and not one byte of HTTP."""
    edge, upstreams = towards
    with RawClient(edge.port) as client:
        for _ in range(2):
            client.send(get(f"/api/{alias}/call"))
            answer = client.answer()
            assert (answer.status, answer.get("exeat-proxy-code")) == (502, "target-unreachable")
            assert b"certificate" not in answer.body
    assert upstreams[alias].seen == []


def test_connections_of_one_authority_serve_no_other(
    towards: tuple[EdgeProcess, dict[str, Upstream]],
) -> None:
    """A kept connection is bound to the roots it was verified with: other roots mean another connection."""
    edge, upstreams = towards
    upstream = upstreams["address"]
    document = yaml.safe_load(edge.policy_path.read_text())
    target = next(one for one in document["targets"] if one["targetId"] == "address")
    with RawClient(edge.port) as client:
        client.send(get("/api/address/before"))
        assert client.answer().status == 200
        seen = len(upstream.seen)
        target["targetCA"] = pem(STRANGER)
        edge.write_policy(document)
        until(lambda: status(client, "/api/address/after") == 502, 5, "the new roots")
        assert all(one.target == "/base/after" for one in upstream.seen[seen:])
        seen = len(upstream.seen)
        assert status(client, "/api/address/later") == 502
        assert len(upstream.seen) == seen
        target["targetCA"] = pem(AUTHORITY)
        edge.write_policy(document)
        until(lambda: status(client, "/api/address/again") == 200, 5, "the old roots")


def test_a_tls_target_that_ends_without_notice_breaks_the_answer(tmp_path: Path) -> None:
    """A close without close_notify inside an answer that only the close would end is a cut, not an end."""
    with HandUpstream(tls=serving(AUTHORITY, "127.0.0.1")) as upstream:
        document = policy(upstream.url, target={"targetCA": pem(AUTHORITY)})
        with running_edge(tmp_path, document) as edge, RawClient(edge.port) as client:
            client.send(get("/api/api/cut"))
            with upstream.accept() as peer:
                peer.head()
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
                assert client.socket.recv(65536)
                # Straight through the TLS layer: a FIN that no close_notify announced.
                socket.socket(fileno=peer.socket.detach()).close()
                assert ended_badly(client)
