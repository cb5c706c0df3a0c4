"""An edge whose target was handed canary secrets, and one caller's connection through it.

Canary secrets hold characters that make the forms of the closed list differ.
"""

from __future__ import annotations

from typing import Any

from proxy_edge.scrub.forms import spell
from tests.kit.edge import CALLER_KEY, EdgeProcess, policy
from tests.kit.hand import HandUpstream, Peer
from tests.kit.raw import RawAnswer, RawClient, get

BEARER = "Sk/l1ve+\"q<&'=~*\\ %?:end_K9-canary"
HEADER_KEY = 'hdr/K3y+"x<&>=~\\ %?canary-Two'
QUERY_KEY = 'qry/K3y+"z<&>=~\\ %?#canary-Three'
CALLER_QUERY_KEY = "caller-query-key-canary/+Four"
SECRETS = (BEARER, HEADER_KEY, QUERY_KEY, CALLER_KEY, CALLER_QUERY_KEY)
ENVIRONMENT = {
    "TEST_TARGET_TOKEN": BEARER,
    "TEST_HEADER_KEY": HEADER_KEY,
    "TEST_QUERY_KEY": QUERY_KEY,
    "TEST_CALLER_QUERY_KEY": CALLER_QUERY_KEY,
}


def document(url: str) -> dict[str, Any]:
    """Proxies `api` (bearer, full scrub), `heads`, `off` (other scrubs), `in-header`, `in-query` (API keys)."""
    whole = policy(url)
    caller, sender = whole["credentials"]
    whole["credentials"].append(
        {
            **caller,
            "credentialId": "caller-query",
            "credentialSecret": {
                "key": {"env": "TEST_CALLER_QUERY_KEY"},
                "in": "query",
                "name": "caller key",
            },
        }
    )
    for name, secret in (
        ("in-header", {"key": {"env": "TEST_HEADER_KEY"}, "name": "X-Token"}),
        ("in-query", {"key": {"env": "TEST_QUERY_KEY"}, "in": "query", "name": "token"}),
    ):
        key = {**sender, "credentialId": name, "credentialAuthType": "apiKey", "credentialSecret": secret}
        whole["credentials"].append(key)
    for name, scrub, credential, callers in (
        ("heads", "headers", "sender", ["caller"]),
        ("off", "off", "sender", ["caller"]),
        ("in-header", "full", "in-header", ["caller"]),
        ("in-query", "full", "in-query", ["caller", "caller-query"]),
    ):
        whole["targets"].append({**whole["targets"][0], "targetId": name, "targetScrub": scrub})
        proxy = {key: value for key, value in whole["proxies"][0].items() if key != "proxyProxyCredentialId"}
        whole["proxies"].append(
            {
                **proxy,
                "proxyId": f"{name}-proxy",
                "proxyAlias": name,
                "proxyTargetId": name,
                "proxyTargetCredentialId": credential,
                "proxyProxyCredentialIds": callers,
            }
        )
    return whole


class Line:
    """One caller's connection, and the target's side of the edge's connection behind it."""

    def __init__(self, edge: EdgeProcess, upstream: HandUpstream) -> None:
        self.edge, self._upstream = edge, upstream
        self.client = RawClient(edge.port, 20.0)
        self.peer: Peer | None = None

    def close(self) -> None:
        self.client.socket.close()
        if self.peer is not None:
            self.peer.socket.close()

    def begin(self, raw: bytes = b"", alias: str = "api") -> Peer:
        """Sends a request and returns the target's side, once its head was read there."""
        self.client.send(raw or get(f"/api/{alias}/canary"))
        if self.peer is None:
            self.peer = self._upstream.accept()
        self.head = self.peer.head()
        return self.peer

    def hang_up(self) -> None:
        """The target closes; the next request comes on a new connection."""
        assert self.peer is not None
        self.peer.socket.close()
        self.peer = None

    def ask(self, answer: bytes, raw: bytes = b"", alias: str = "api") -> RawAnswer:
        """What the caller gets when the target answers with these bytes."""
        self.begin(raw, alias).send(answer)
        return self.client.answer()


def sealed(data: bytes, *secrets: str) -> bool:
    """Whether `data` holds none of the secrets in any form of the list, in whatever case."""
    lower = data.lower()
    return not any(form.lower() in lower for secret in secrets or SECRETS for form in spell(secret.encode()))
