"""Step 3: whose credential it is, and that it is gone from what later steps see."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import CredentialRejected
from models.policy import CompiledProxy
from models.request import CanonicalRequest
from proxy_edge.steps.authenticate import authenticate
from tests.kit.edge import CALLER_KEY, policy
from tests.kit.memory import bundle

KEY = CALLER_KEY.encode()


def proxy(home: Path, **secret: str) -> CompiledProxy:
    caller = {"credentialSecret": {"key": {"env": "TEST_CALLER_KEY"}, **secret}}
    found = bundle(home, policy("http://t.test", caller=caller)).policy.proxies[b"api"]
    assert isinstance(found, CompiledProxy)
    return found


def test_a_credential_in_a_header(tmp_path: Path) -> None:
    """The request stays as it is: its header is never forwarded anyway."""
    request = CanonicalRequest(b"GET", b"/", b"a=b", [(b"x-api-key", KEY)])
    assert authenticate(proxy(tmp_path), request) == ("caller", request)


def test_a_credential_in_the_query_is_taken_out(tmp_path: Path) -> None:
    """Rules, record and wire see the query without it."""
    found = proxy(tmp_path, **{"in": "query", "name": "k"})
    request = CanonicalRequest(b"GET", b"/x", b"a=b&k=" + KEY + b"&c", [(b"a", b"b")])
    identity, left = authenticate(found, request)
    assert identity == "caller"
    assert (left.method, left.path, left.query, left.headers) == (b"GET", b"/x", b"a=b&c", [(b"a", b"b")])
    assert left.query_pairs() == [(b"a", b"b"), (b"c", b"")]


def test_no_credential(tmp_path: Path) -> None:
    """401."""
    with pytest.raises(CredentialRejected):
        authenticate(proxy(tmp_path), CanonicalRequest(b"GET", b"/", b"", []))
