"""Secrets stay sealed in a whole installation: canaries through every way in, then a search through all it wrote.

The canaries go in by POST, PUT and PATCH, in requests that are refused for every reason, in wrong places, as keys
and tokens of callers; calls use them, vault and worker are killed meanwhile. Then files, shared memory, memory of
those who need none, variables, arguments and every answer are searched for them in every form.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from control_api.routes.table import ROUTES, Route
from models.home import short_directory
from tests.kit.canary import Canaries, Search, forms
from tests.kit.desk import Desk
from tests.kit.edge import until
from tests.kit.load import Load
from tests.kit.planes import RunningHome
from tests.kit.raw import get, request
from tests.kit.upstream import Seen, Upstream

REGION = "us-east-1"
MAY_HOLD = {"vault", "worker", "control"}
"""Parts through whose hands plaintext goes: it is sealed in one, sealed anew in another and injected in the third."""
pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]


class Story(NamedTuple):
    """What was planted where. shown: what the API chose itself; sent: what the target must have been sent."""

    home: RunningHome
    desk: Desk
    search: Search
    upstream: Upstream
    shown: dict[str, str]
    sent: list[str]


@pytest.fixture(scope="module")
def story(custody_home: RunningHome) -> Iterator[Story]:
    with Upstream() as upstream, Desk(_port(custody_home.control_url), custody_home.token) as desk:
        planting = Planting(custody_home, desk, upstream)
        planting.plant()
        search = planting.canaries.search(*planting.shown.values())
        yield Story(custody_home, desk, search, upstream, planting.shown, planting.sent)


# -- planting -------------------------------------------------------------------------------------------


class Planting:
    """Does everything that a secret may be part of."""

    def __init__(self, home: RunningHome, desk: Desk, upstream: Upstream) -> None:
        self.home, self.desk, self.upstream = home, desk, upstream
        self.canaries = Canaries()
        self.odd, self.plain = self.canaries.odd, self.canaries.plain
        self.shown: dict[str, str] = {}
        self.sent: list[str] = []
        self.port = home.edge_port(REGION)
        self.client = str(desk.done("POST", "/clients", {"clientName": "Sealed"})["clientId"])
        self.user = str(desk.done("GET", "/users/me")["userId"])
        self.credentials = f"/clients/{self.client}/credentials"

    def plant(self) -> None:
        """All of it; returns once what was killed is back."""
        for route in ROUTES:
            self._misuse(route)
        self._make()
        self._refuse()
        self._break_http()
        self._call()
        self._kill()
        self._replace()
        self._call()
        self._end()

    # every route, with secrets wherever they do not belong

    def _misuse(self, route: Route) -> None:
        path = route.path.removeprefix("/v1")
        own = {"clientId": self.client, "userId": self.user, "region": REGION}
        for name in route.parameters:
            keep = name in own and path.count("{") > 1
            path = path.replace(f"{{{name}}}", own[name] if keep else self.plain())
        for body in (
            {"credentialSecret": {"key": self.odd(), "token": self.plain(), self.plain(): self.odd()}},
            {self.odd(): {self.odd(): [self.odd(), self.plain()]}},
            [self.odd()],
            self.odd(),
        ):
            self._try(route, path, body)
        for headers in (
            {"if-match": self.odd(), "idempotency-key": self.odd()},
            {"cookie": self.odd(), "x-api-key": self.odd(), "x-secret": self.odd(), "via": self.odd()},
        ):
            self._try(route, path, {"credentialSecret": self.odd()}, headers=headers)
        scheme = "Bearer " if len(route.name) % 2 else ""  # of many unknown tokens each one waits a while
        for token in (
            f"{scheme}u-{self.plain()}",
            f"r-{self.plain()}",
            self.odd(),
            f"Basic {base64.b64encode(self.odd().encode()).decode()}",
        ):
            self._try(route, path, {"credentialSecret": {"key": self.odd()}}, token=token)
        for name in ("limit", "cursor", "after", "before", "resourceId", "actor", "wait", self.odd()):
            self._try(route, path, {"secret": self.odd()}, params={name: self.plain() or self.odd()})

    def _try(self, route: Route, path: str, body: Any, **more: Any) -> None:
        answer = self.desk.call(route.method, path, None if route.method == "GET" else body, **more)
        good = route.method == "GET"
        assert 400 <= answer.status_code < 500 or (good and answer.status_code == 200), (route, answer.text)

    # resources with secrets

    def _make(self) -> None:
        self.callers = {
            "header": self._credential("proxy", "apiKey", {"key": self.odd()}),
            "named": self._credential("proxy", "apiKey", {"key": self.odd(), "name": "X-Secret-Key"}),
            "query": self._credential(
                "proxy", "apiKey", {"key": self.odd(), "in": "query", "name": "the key"}
            ),
            "bearer": self._credential("proxy", "bearer", {"token": self.odd()}),
        }
        for kind, field in (("apiKey", "key"), ("bearer", "token")):
            again = {"headers": {"idempotency-key": self.odd()}}
            body = self._body("proxy", kind)
            made = self.desk.done("POST", self.credentials, body, **again)
            self.shown[f"generated {kind}"] = made["credentialSecret"][field]
            self.callers[f"generated {kind}"] = (made["credentialId"], made["credentialSecret"][field])
            assert "credentialSecret" not in self.desk.done("POST", self.credentials, body, **again)
        self.senders = {
            "bearer": self._credential("target", "bearer", {"token": self.odd()}),
            "header": self._credential(
                "target", "apiKey", {"key": self.odd(), "name": "X-Token", "prefix": "K"}
            ),
            "query": self._credential(
                "target", "apiKey", {"key": self.odd(), "in": "query", "name": "token"}
            ),
            "quiet": self._credential("target", "bearer", {"token": self.plain()}, credentialOffline=False),
        }
        token = {"tokenName": "auditor", "tokenScopes": ["read", "write"]}
        auditor = self.desk.done("POST", "/users", {"userName": "Auditor"})["userId"]
        self.shown["token"] = self.desk.done("POST", f"/users/{auditor}/tokens", token)["tokenValue"]
        member = {"userId": auditor, "roles": ["auditor"]}
        self.desk.done("POST", f"/clients/{self.client}/members", member)
        self.desk.done("GET", f"/clients/{self.client}", token=self.shown["token"])
        where = {"targetName": "Mirror", "targetBaseURL": self.upstream.url, "targetRegion": REGION}
        targets = f"/clients/{self.client}/targets"
        self.target = self.desk.done("POST", targets, {**where, "targetTestPath": "/ping"})["targetId"]
        nobody = {**where, "targetBaseURL": "http://127.0.0.1:9"}
        self.nobody = self.desk.done("POST", targets, nobody)["targetId"]
        self.proxies = {
            name: self._proxy(name, sender, self.target) for name, (sender, _) in self.senders.items()
        }
        self.proxies["nobody"] = self._proxy("nobody", self.senders["bearer"][0], self.nobody)
        self.sent += [secret for _, secret in self.senders.values()]
        self._settle()

    def _proxy(self, name: str, sender: str, target: str) -> str:
        rule = {"effect": "deny", "path": {"pattern": "^/denied"}}
        made = self.desk.done(
            "POST",
            f"/clients/{self.client}/proxies",
            {
                "proxyName": name,
                "proxyRegion": REGION,
                "proxyProxyCredentialIds": [one for one, _ in self.callers.values()],
                "proxyTargetId": target,
                "proxyTargetCredentialId": sender,
            },
        )
        self.desk.done("POST", f"/clients/{self.client}/proxies/{made['proxyId']}/rules", rule)
        return str(made["proxyId"])

    def _credential(self, side: str, kind: str, secret: dict[str, str], **fields: Any) -> tuple[str, str]:
        """(id, secret) of a new one; it is posted twice under one key, which is a secret as well."""
        body = self._body(side, kind, secret, **fields)
        key = {"idempotency-key": self.odd()}
        made = self.desk.done("POST", self.credentials, body, headers=key)
        assert self.desk.done("POST", self.credentials, body, headers=key) == made
        other = {**body, "credentialSecret": {**secret, next(iter(secret)): self.odd()}}
        self.desk.refused(409, "POST", self.credentials, other, headers=key)
        assert "credentialSecret" not in made
        return made["credentialId"], next(iter(secret.values()))

    def _body(self, side: str, kind: str, secret: Any = None, **fields: Any) -> dict[str, Any]:
        body = {
            "credentialName": f"{side} {kind}",
            "credentialType": side,
            "credentialAuthType": kind,
            "credentialRegion": REGION,
            **fields,
        }
        return body if secret is None else {**body, "credentialSecret": secret}

    # refusals

    def _refuse(self) -> None:
        for body in self._bad_bodies():
            self.desk.refused(422, "POST", self.credentials, body)
        for caller, secret in (("header", {"key": self.odd()}), ("bearer", {"token": self.odd()})):
            path = f"{self.credentials}/{self.callers[caller][0]}"
            kind = "bearer" if caller == "bearer" else "apiKey"
            whole = self._body("proxy", kind, secret)
            for method, body in (("PUT", whole), ("PATCH", {"credentialSecret": secret})):
                self.desk.refused(412, method, path, body, headers={"if-match": "1"})
                self.desk.refused(422, method, path, body, headers={"if-match": self.odd()})
                self.desk.refused(403, method, path, body, token=self.shown["token"])
                self.desk.refused(401, method, path, body, token=f"u-{self.plain()}")
                self.desk.refused(404, method, path.replace(self.client, "cli_other"), body)
                for wrong in (
                    {
                        "credentialType": "target",
                        "credentialSecret": {"key": self.odd(), "token": self.odd()},
                    },
                    {"credentialOverlapSeconds": self.plain()},
                    {"credentialSecret": {**secret, self.plain(): self.odd()}},
                    {"credentialSecret": {**secret, "prefix": f"{self.odd()} x"}},
                    {"credentialSecret": self.odd()},
                    {"credentialVersion": self.plain(), "credentialStatus": self.plain()},
                ):
                    self.desk.refused(422, method, path, {**body, **wrong})
        for field in ("targetBaseURL", "targetCA", "targetRegion", "targetTimeoutMs", "targetScrub"):
            url = f"http://user:{self.plain()}@127.0.0.1/" if field == "targetBaseURL" else self.odd()
            self.desk.refused(422, "PATCH", f"/clients/{self.client}/targets/{self.target}", {field: url})
        test = {"credentialId": self.plain()}
        self.desk.refused(422, "POST", f"/clients/{self.client}/targets/{self.target}/test", test)

    def _bad_bodies(self) -> Iterator[dict[str, Any]]:
        good = {"key": self.odd()}
        yield self._body("proxy", "apiKey", good, credentialRegion=self.plain())
        yield self._body("proxy", "apiKey", good, credentialRegion="mars-1")
        yield self._body("proxy", self.plain(), good)
        yield self._body(self.plain(), "apiKey", good)
        yield self._body("proxy", "apiKey", good, credentialName=5)
        yield self._body("proxy", "apiKey", good, credentialKey=self.odd())
        yield self._body("proxy", "apiKey", good, credentialExpiresAt=self.plain())
        yield self._body("proxy", "apiKey", good, credentialOffline=self.odd())
        yield self._body("proxy", "apiKey", good, **{self.odd(): self.odd()})
        yield self._body("target", "none", {"key": self.odd()})
        for secret in (
            self.odd(),
            [self.odd()],
            {"token": self.odd()},
            {"key": [self.odd()]},
            {"key": {"key": self.odd()}},
            {"key": f"{self.odd()}\n"},
            {"key": f"\u00fc{self.odd()}"},
            {"key": f" {self.odd()} "},
            {"key": self.odd() * 300},
            {"key": self.odd(), "in": self.plain()},
            {"key": self.odd(), "name": "Host"},
            {"key": self.odd(), "name": self.odd()},
            {"key": self.odd(), self.plain(): self.plain()},
        ):
            yield self._body("proxy", "apiKey", secret)
        for kind, secret in (
            ("jwt", {"token": self.odd()}),
            ("basicAuth", {"username": self.odd(), "password": self.odd()}),
            ("custom", {"headers": {"X-Key": self.odd()}, "query": {self.plain(): self.odd()}}),
            ("oauth2", {"grantType": "client_credentials", "clientId": "a", "clientSecret": self.odd()}),
            ("jwtVerify", {"sharedSecret": self.odd(), "issuer": "a", "audience": "b"}),
            ("awsSigV4", {"accessKeyId": self.plain(), "secretAccessKey": self.odd(), "service": "s3"}),
            ("mtls", {"certificate": self.plain(), "privateKey": self.odd()}),
        ):
            yield self._body("target", kind, secret)

    # requests that are not even that

    def _break_http(self) -> None:
        secret = self.odd()
        body = json.dumps(self._body("proxy", "apiKey", {"key": secret})).encode()
        head = (
            f"POST /v1{self.credentials} HTTP/1.1\r\nHost: a\r\nAuthorization: {self.desk.token}\r\n"
            "Connection: close\r\n"
        ).encode()

        def sized(text: bytes, length: int | None = None) -> bytes:
            return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(text) if length is None else length, text)

        for text in (
            body[:-1],
            body + b"}",
            body.replace(b'"credentialName"', b'"credentialSecret": 1, "credentialName"'),
            b"\xff" + body,
            body[:-1] + b', "x": ' + b"[" * 100 + b"]" * 100 + b"}",
            body.replace(b'"credentialName"', b'"a": NaN, "credentialName"'),
        ):
            assert self.desk.raw(sized(text)).startswith(b"HTTP/1.1 400 ")
        assert self.desk.raw(sized(body + b" " * (1 << 20))).startswith(b"HTTP/1.1 413 ")
        for missing in (1, 10):
            self.desk.raw(sized(body, len(body) + missing), cut=True)
        for line in (
            f"Authorization {secret}",
            f"{secret}: {secret}",
            f"X-Secret: {secret * 500}",
            f"Content-Length: {secret}",
            f"Transfer-Encoding: {secret}",
            f"Expect: {secret}",
        ):
            self.desk.raw(b"GET /v1/users/me HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line.encode())
        self.desk.raw(f"{secret} /v1/users/me HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        self.desk.raw(
            f"GET /{quote(secret)}?{quote(secret)}#{secret} HTTP/1.1\r\nHost: {secret}\r\n\r\n".encode()
        )
        self.desk.raw(f"GET /v1/users/me {secret}\r\n\r\n".encode())
        self.desk.raw(secret.encode(), cut=True)
        self.desk.raw(secret.encode() + b"\r\n\r\n")

    # calls through the edge

    def _call(self) -> None:
        for name, (_, secret) in self.callers.items():
            for proxy in self.proxies.values():
                for path in ("/x?a=1", "/denied"):
                    answer = self.desk.through(
                        self.port, self._presented(name, secret, f"/api/{proxy}{path}")
                    )
                    assert answer.status in {200, 403, 502}, (name, answer)
        proxy = self.proxies["bearer"]
        before = len(self.upstream.seen)
        for key in (self.odd(), self.plain()):
            for name in self.callers:
                wrong = self._presented(name, key, f"/api/{proxy}/wrong?token={self.plain()}")
                assert self.desk.through(self.port, wrong).status == 401
        assert len(self.upstream.seen) == before
        known = self.callers["header"][1]
        for broken in (
            get(f"/api/{self.plain()}/x", key=known),
            get(f"/api/{proxy}/%zz", key=known),
            get(f"/api/{proxy}/x", f"Bad Name: {known}", key=known),
            get(f"/api/{proxy}/x", f"X-Api-Key: {self.odd()}", key=known),
            get(f"/api/{proxy}/x", "Content-Length: 5", "Transfer-Encoding: chunked", key=known),
            get(f"/{known}", key=known, host=known),
            request(known, f"/api/{proxy}/x", key=known),
            request("POST", f"/api/{proxy}/x", key=known, body=known.encode() * 100),
            b"GET /api/x HTTP/1.1\r\nAuthorization: %b" % (known.encode() * 2000),
            known.encode() + b"\r\n\r\n",
        ):
            self.desk.raw(broken, port=self.port)
        self.desk.raw(
            request("POST", f"/api/{proxy}/x", "Content-Length: 99", key=known), port=self.port, cut=True
        )
        for page in ("/ready", "/health", "/metrics"):
            self.desk.through(self.port, get(page, key=known))
        tests = f"/clients/{self.client}/targets/{self.target}/test"
        result = self.desk.done("POST", tests, {"credentialId": self.senders["header"][0]})
        assert result["status"] == 200

    @staticmethod
    def _presented(name: str, secret: str, path: str) -> bytes:
        if name == "query":
            return get(f"{path}{'&' if '?' in path else '?'}the%20key={quote(secret, safe='')}", key=None)
        if name == "named":
            return get(path, f"X-Secret-Key: {secret}", key=None)
        return get(path, key=secret)

    # deaths

    def _kill(self) -> None:
        """Vault and worker, while calls use the secrets; returns once both are back and correct."""
        key = self.callers["header"][1]
        with Load(self.port, f"/api/{self.proxies['bearer']}", keepalive=4, key=key) as load:
            load.wait(50)
            gone = {part: self.home.kill(part, REGION) for part in ("vault", "worker")}
            for part, pid in gone.items():
                count = 2 if part == "worker" else 1

                def back(part: str = part, pid: int = pid, count: int = count) -> bool:
                    pids = self.home.pids(part, REGION)
                    return pid not in pids and len(pids) == count

                until(back, 60, f"{part} back")
            load.wait(50)
        assert load.calls[-1].status == 200

    # replacing and ending

    def _replace(self) -> None:
        for group, side in ((self.callers, "proxy"), (self.senders, "target")):
            for name, (credential, _) in group.items():
                path = f"{self.credentials}/{credential}"
                was = self.desk.done("GET", path)
                field = "token" if was["credentialAuthType"] == "bearer" else "key"
                first, second = self.odd(), self.odd()
                extra = {"in": "query", "name": {"proxy": "the key", "target": "token"}[side]}
                extra = extra if name == "query" else {"name": "X-Secret-Key"} if name == "named" else {}
                whole = {**was, "credentialSecret": {field: first, **extra}}
                self.desk.done("PUT", path, whole)
                patch = {
                    "credentialSecret": {field: second},
                    "credentialOverlapSeconds": 0 if side == "target" else 60,
                }
                self.desk.done("PATCH", path, patch)
                group[name] = (credential, second)
        self.sent += [secret for _, secret in self.senders.values()]
        self._settle()
        for name, (_, secret) in self.senders.items():
            call = get(f"/api/{self.proxies[name]}/new", key=self.callers["header"][1])

            def is_sent(call: bytes = call, secret: str = secret) -> bool:
                assert self.desk.through(self.port, call).status == 200
                return _is_in(self.upstream.seen[-1], secret)

            until(is_sent, 20, f"a lease of the new secret of {name}")

    def _end(self) -> None:
        for name, group in (("bearer", self.callers), ("quiet", self.senders)):
            credential, _ = group[name]
            path = f"{self.credentials}/{credential}"
            self.desk.done("POST", f"{path}/revoke")
            was = self.desk.done("GET", path)
            secret = {"credentialSecret": {"token": self.odd()}}
            self.desk.refused(409, "PUT", path, {**was, **secret})
            self.desk.refused(409, "PATCH", path, secret)
            self.desk.refused(409, "DELETE", path)
        for proxy in self.proxies.values():
            self.desk.call("GET", f"/clients/{self.client}/proxies/{proxy}")
        loose, _ = self._credential("target", "bearer", {"token": self.odd()})
        self.desk.done("DELETE", f"{self.credentials}/{loose}")
        self._settle()
        for path in (
            f"/clients/{self.client}/audit",
            "/users/me",
            f"/users/{self.user}/tokens",
            "/endpoints",
        ):
            assert self.desk.call("GET", path, params={"limit": "1000"} if "audit" in path else {}).is_success
        for credential in self.desk.call("GET", self.credentials).json()["credentials"]:
            assert "credentialSecret" not in credential

    def _settle(self) -> None:
        """Returns once both workers enforce what was written last."""
        change = self.desk.call("PATCH", f"/clients/{self.client}", {})
        revision = int(change.headers["exeat-revision"])
        latest = max(
            revision,
            *(int(one["revision"]) for one in self.desk.call("GET", self.credentials).json()["credentials"]),
        )
        until(
            lambda: self.home.do(lambda api: api.revision(latest)).in_force(),
            30,
            f"revision {latest} in force",
        )
        self.desk.call("GET", f"/revisions/{latest}")


def _is_in(seen: Seen, secret: str) -> bool:
    """Whether a request that the target got has the secret, in a field or in its query."""
    return quote(secret, safe="") in seen.target or any(secret in value for _, value in seen.headers)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


# -- the search -----------------------------------------------------------------------------------------


def test_every_secret_went_where_it_belongs(story: Story) -> None:
    """Or the search would prove nothing: the target was sent each, and the caller's answer had filler in its place."""
    for secret in story.sent:
        assert any(_is_in(seen, secret) for seen in story.upstream.seen), secret
    assert len(story.shown) == 3
    assert len(story.desk.heard) > 1000


def test_search_finds_what_it_looks_for(story: Story, tmp_path: Path) -> None:
    """Each form is found in a file, also across two windows, in base64 of more, and in memory that has it."""
    secret = Canaries()
    planted = secret.odd()
    search = secret.search()
    place = tmp_path / "planted"
    for form in forms(planted) | {base64.b64encode(b"?" * shift + planted.encode()) for shift in range(3)}:
        place.write_bytes(b"<" + form + b"\0" * 5000)
        assert search.of_file(place), form
        assert search.first(b"<" + form.swapcase() + b">"), form
    place.write_bytes(b"\0" * ((1 << 24) - 9) + planted.encode())
    assert search.of_file(place)
    for worker in story.home.pids("worker", REGION):
        with contextlib.suppress(PermissionError):
            assert story.search.of_memory(worker)


def test_no_file_holds_a_secret(story: Story) -> None:
    """Stores with their logs, rings, snapshots, records, logs of all parts, Ray's session: not in any form."""
    names = {path.name for path in story.home.files()}
    assert {"control.db", "control.db-wal", "vault.db", "registry.db", "state", "numbering"} <= names
    assert {"edge.log", "link.log", "control.log", "raylet.out", "gcs_server.out", "limiter.db"} <= names
    short = short_directory(story.home.root, os.getuid())
    files = {*story.home.files(), *(path for path in short.rglob("*") if path.is_file())}
    assert _found(story.search, files) == {}


def test_no_shared_memory_holds_a_secret(story: Story) -> None:
    """Ray's object store, and every other file without a name that a process of the home has open."""
    opened = dict(_nameless(story.home))
    assert any("plasma" in target for target in opened.values())
    assert _found(story.search, opened) == {}


def test_no_process_that_needs_none_has_a_secret(story: Story) -> None:
    """Registry, link, raylet, Ray's head and everyone else who only carries or supervises: not even in memory."""
    may = {row.pid for row in story.home.status() if row.part in MAY_HOLD}
    found, looked = {}, 0
    for process in story.home.processes():
        if process.pid in may:
            continue
        with contextlib.suppress(PermissionError, ProcessLookupError, FileNotFoundError):
            form = story.search.of_memory(process.pid)
            looked += 1
            if form is not None:
                found[process.pid, Path(f"/proc/{process.pid}/cmdline").read_bytes()[:80]] = form
    assert found == {}
    assert looked or os.getuid()


def test_no_answer_holds_a_secret(story: Story) -> None:
    """Of API and edge, whatever was asked; what the API chose is in the answer to its POST and in no other."""
    given = story.home.token
    search = Canaries().search(*story.shown.values())
    planted = [form for answer in story.desk.heard if (form := _planted(story, answer)) is not None]
    assert planted == []
    told = [answer for answer in story.desk.heard if search.first(answer) is not None]
    assert [sum(secret.encode() in answer for answer in told) for secret in story.shown.values()] == [1] * 3
    assert len(told) == 3
    assert not [answer for answer in story.desk.heard if given.encode() in answer]


def _planted(story: Story, answer: bytes) -> bytes | None:
    for secret in story.shown.values():
        answer = answer.replace(secret.encode(), b"")
    return story.search.first(answer)


def test_no_variable_or_argument_holds_a_secret(story: Story) -> None:
    """Of any process of the home; not the owner's token either, nor a key of the home, nor Ray's token."""
    search = Search([*story.search.forms, *(path.read_text().strip() for path in _secret_files(story.home))])
    looked = 0
    for process in story.home.processes():
        for name in ("environ", "cmdline"):
            with contextlib.suppress(PermissionError, FileNotFoundError, ProcessLookupError):
                text = Path(f"/proc/{process.pid}/{name}").read_bytes()
                assert search.first(text) is None, (process, name)
                looked += 1
    assert looked > 10


def test_what_must_be_a_file_is_in_that_file_only(story: Story) -> None:
    """Owner's token, keys, region key and Ray's token: mode 600, and in no other file, nor in Ray's object store."""
    secrets = _secret_files(story.home)
    assert len(secrets) == 7, secrets
    short = short_directory(story.home.root, os.getuid())
    places: dict[str | Path, str] = dict(_nameless(story.home))
    places |= {path: str(path) for path in {*story.home.files(), *short.rglob("*")} if path.is_file()}
    texts = {path: path.read_text().strip() for path in secrets}
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    raw = [bytes.fromhex(text) for text in texts.values() if _is_hex(text)]
    search = Search([*texts.values(), *raw])
    assert _found(search, {place: name for place, name in places.items() if place not in secrets}) == {}
    for path, text in texts.items():
        assert Search([other for other in texts.values() if other != text]).of_file(path) is None


def test_only_the_owner_may_look(story: Story) -> None:
    """Directories are 700 and files 600 but for public keys; Ray's own tree is below a directory that is 700."""
    root = story.home.root
    ray = root / "run" / "ray"
    short = short_directory(root, os.getuid())
    wrong = []
    for path in [root, *root.rglob("*"), short]:
        if path.is_symlink() or ray in path.parents or path == ray:
            continue
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.suffix == ".pub":
            mode &= 0o733
        if path.lstat().st_uid != os.getuid() or mode != (0o700 if path.is_dir() else 0o600):
            wrong.append((str(path), oct(mode)))
    assert wrong == []
    assert stat.S_IMODE(ray.parent.stat().st_mode) == 0o700


def _secret_files(home: RunningHome) -> list[Path]:
    one, region, edge = home.home, home.home.region(REGION), home.home.edge(REGION)
    return [
        one.owner_token,
        one.ray_token,
        one.policy_key,
        region.key,
        region.vault_kek,
        region.vault_key,
        edge.host_key,
    ]


def _is_hex(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def _nameless(home: RunningHome) -> Iterator[tuple[str, str]]:
    """(path to read it by, what it was) of open files in memory or without a name, each once."""
    seen = set()
    for process in home.processes():
        with contextlib.suppress(PermissionError, FileNotFoundError, ProcessLookupError):
            for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    target = str(descriptor.readlink())
                    status = descriptor.stat()
                    hidden = target.startswith("/memfd:") or target.endswith(" (deleted)")
                    if hidden and stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        yield str(descriptor), target


def _found(search: Search, places: Any) -> dict[str, bytes]:
    """What was found where; a file that went away meanwhile has nothing."""
    found = {}
    for place in places:
        with contextlib.suppress(FileNotFoundError):
            form = search.of_file(place)
            if form is not None:
                found[str(place)] = form
    return found
