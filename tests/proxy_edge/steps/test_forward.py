"""Step 8, second half: the head that goes upstream is written from the canonical request and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.fields import CALLER_ONLY, HOP_BY_HOP
from models.header_block import HeaderBlock
from models.policy import CompiledProxy
from models.request import CanonicalRequest
from models.secret import Secret
from proxy_edge.steps.forward import Forwarding, forwarded_fields, request_head
from proxy_edge.steps.lease import Injection
from tests.kit.edge import policy
from tests.kit.memory import bundle

FORWARDING = Forwarding("exeat", b"exeat-aa")
BEARER = Injection.in_header("Authorization", "Bearer", Secret("secret-0123456789"))
QUERY = Injection.in_query("key", "", Secret("secret&0123456789"))


def proxy(home: Path, base: str = "http://t.test/base", **target: Any) -> CompiledProxy:
    found = bundle(home, policy(base, target=target)).policy.proxies[b"api"]
    assert isinstance(found, CompiledProxy)
    return found


def lines(
    found: CompiledProxy,
    *headers: tuple[bytes, bytes],
    path: bytes = b"/x",
    query: bytes = b"",
    injection: Injection = BEARER,
    framing: bytes = b"",
) -> list[bytes]:
    block = HeaderBlock(b"".join(b"%b: %b\r\n" % pair for pair in ((b"host", b"e"), *headers)), 100)
    fields = forwarded_fields(block, found, injection, FORWARDING)
    head = request_head(CanonicalRequest(b"GET", path, query, block.pairs), found, injection, fields, framing)
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


OURS = [b"accept-encoding: identity", b"authorization: Bearer secret-0123456789", b"via: 1.1 exeat-aa"]


def test_what_passes_stands_as_it_was(tmp_path: Path) -> None:
    """In order, doubled fields included; host, credential, Via and framing are ours."""
    own = [
        (b"accept", b"*/*"),
        (b"x-a", b""),
        (b"x-a", b"\xe4 b"),
        (b"via", b"1.1 other"),
        (b"cache-control", b"no-cache"),
    ]
    assert lines(proxy(tmp_path), *own, query=b"a=b", framing=b"content-length: 3\r\n") == [
        b"GET /base/x?a=b HTTP/1.1",
        b"host: t.test",
        *[name + b": " + value for name, value in own],
        *OURS,
        b"content-length: 3",
    ]


@pytest.mark.parametrize(
    ("base", "authority", "path", "line"),
    [
        ("http://t.test", b"t.test", b"/", b"GET / HTTP/1.1"),
        ("http://t.test/", b"t.test", b"/x", b"GET /x HTTP/1.1"),
        ("https://t.test:8443/v1/", b"t.test:8443", b"/x", b"GET /v1/x HTTP/1.1"),
        ("http://[::1]:80/v1", b"[::1]", b"/", b"GET /v1/ HTTP/1.1"),
    ],
)
def test_base_and_path_are_joined_by_one_slash(
    tmp_path: Path, base: str, authority: bytes, path: bytes, line: bytes
) -> None:
    """And Host names the target, without a default port."""
    assert lines(proxy(tmp_path, base), path=path)[:2] == [line, b"host: " + authority]


@pytest.mark.parametrize(
    "name",
    [
        *sorted((HOP_BY_HOP - {b"connection"}) | CALLER_ONLY),
        *(b"content-length", b"cookie", b"range", b"if-range", b"accept-encoding"),
        *(b"x-forwarded-for", b"x-forwarded-x", b"exeat-request-id", b"exeat-x"),
    ],
)
def test_what_never_passes(tmp_path: Path, name: bytes) -> None:
    """Credentials, hop-by-hop fields, forwarding fields, our prefix, cookies; ranges and codings under scrub."""
    value = {b"content-length": b"3", b"transfer-encoding": b"chunked"}.get(name, b"value")
    got = lines(proxy(tmp_path), (name, value))
    assert got[2:] == OURS


def test_nominated_fields_never_pass(tmp_path: Path) -> None:
    """Every field that any Connection field names, whatever the case."""
    got = lines(
        proxy(tmp_path),
        (b"x-one", b"1"),
        (b"connection", b"keep-alive, X-One"),
        (b"connection", b"x-TWO"),
        (b"x-two", b"2"),
        (b"x-three", b"3"),
    )
    assert got[2:] == [b"x-three: 3", *OURS]


def test_connection_cannot_name_what_we_write(tmp_path: Path) -> None:
    """Host, framing and the injected credential are added after it was obeyed."""
    got = lines(
        proxy(tmp_path),
        (b"connection", b"host, authorization, via, content-length"),
        framing=b"content-length: 3\r\n",
    )
    assert got[1:] == [b"host: t.test", *OURS, b"content-length: 3"]


def test_cookies_and_ranges_where_the_target_takes_them(tmp_path: Path) -> None:
    """targetCookies, and a scrub that does not read bodies."""
    found = proxy(tmp_path, targetCookies=True, targetScrub="headers")
    own = [(b"cookie", b"a=b"), (b"range", b"bytes=0-1"), (b"if-range", b"x"), (b"accept-encoding", b"gzip")]
    assert lines(found, *own)[2:] == [*[name + b": " + value for name, value in own], *OURS[1:]]


def test_where_answers_are_filtered_they_are_asked_for_whole_and_plain(tmp_path: Path) -> None:
    """Although nothing is scrubbed from bodies: whether a filter applies is known from the answer's status only."""
    filters = [{"action": "destroy", "paths": ["$.a"], "statuses": ["404"]}]
    found = proxy(tmp_path, targetScrub="headers", filters=filters)
    own = [(b"range", b"bytes=0-1"), (b"if-range", b"x"), (b"accept-encoding", b"gzip")]
    assert lines(found, *own)[2:] == OURS


def test_an_injected_header_replaces_the_callers(tmp_path: Path) -> None:
    """Also one that would otherwise pass."""
    made = Injection.in_header("X-Token", "", Secret("secret-0123456789"))
    got = lines(proxy(tmp_path), (b"x-token", b"mine"), (b"x-tokens", b"kept"), injection=made)
    assert got[2:] == [b"x-tokens: kept", OURS[0], b"x-token: secret-0123456789", OURS[2]]


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (b"", b"key=secret%260123456789"),
        (b"a=b&key=mine&c", b"a=b&c&key=secret%260123456789"),
        (b"k%65y=1", b"key=secret%260123456789"),
    ],
)
def test_an_injected_parameter_replaces_the_callers(tmp_path: Path, query: bytes, sent: bytes) -> None:
    """It comes last, and there is exactly one."""
    got = lines(proxy(tmp_path), query=query, injection=QUERY)
    assert got[0] == b"GET /base/x?" + sent + b" HTTP/1.1"
    assert not any(line.startswith(b"authorization") for line in got)
