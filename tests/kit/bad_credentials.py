"""Credentials as they are posted to the Core API: how a right one looks, and all that may be wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.kit.canary import Canaries

REGION = "us-east-1"


def credential_body(side: str, kind: str, secret: Any = None, **fields: Any) -> dict[str, Any]:
    """What is posted for a new credential of `side` (proxy or target) and `kind`."""
    body = {
        "credentialName": f"{side} {kind}",
        "credentialType": side,
        "credentialAuthType": kind,
        "credentialRegion": REGION,
        **fields,
    }
    return body if secret is None else {**body, "credentialSecret": secret}


def bad_bodies(canaries: Canaries) -> Iterator[dict[str, Any]]:
    """Bodies that are refused with 422, each with secrets wherever one may stand."""
    odd, plain = canaries.odd, canaries.plain
    good = {"key": odd()}
    yield credential_body("proxy", "apiKey", good, credentialRegion=plain())
    yield credential_body("proxy", "apiKey", good, credentialRegion="mars-1")
    yield credential_body("proxy", plain(), good)
    yield credential_body(plain(), "apiKey", good)
    yield credential_body("proxy", "apiKey", good, credentialName=5)
    yield credential_body("proxy", "apiKey", good, credentialKey=odd())
    yield credential_body("proxy", "apiKey", good, credentialExpiresAt=plain())
    yield credential_body("proxy", "apiKey", good, credentialOffline=odd())
    yield credential_body("proxy", "apiKey", good, **{odd(): odd()})
    yield credential_body("target", "none", {"key": odd()})
    for secret in (
        odd(),
        [odd()],
        {"token": odd()},
        {"key": [odd()]},
        {"key": {"key": odd()}},
        {"key": f"{odd()}\n"},
        {"key": f"\u00fc{odd()}"},
        {"key": f" {odd()} "},
        {"key": odd() * 300},
        {"key": odd(), "in": plain()},
        {"key": odd(), "name": "Host"},
        {"key": odd(), "name": odd()},
        {"key": odd(), plain(): plain()},
    ):
        yield credential_body("proxy", "apiKey", secret)
    for kind, secret in (
        ("jwt", {"token": odd()}),
        ("basicAuth", {"username": odd(), "password": odd()}),
        ("custom", {"headers": {"X-Key": odd()}, "query": {plain(): odd()}}),
        ("oauth2", {"grantType": "client_credentials", "clientId": "a", "clientSecret": odd()}),
        ("jwtVerify", {"sharedSecret": odd(), "issuer": "a", "audience": "b"}),
        ("awsSigV4", {"accessKeyId": plain(), "secretAccessKey": odd(), "service": "s3"}),
        ("mtls", {"certificate": plain(), "privateKey": odd()}),
    ):
        yield credential_body("target", kind, secret)
