"""Secrets planted in a whole installation: everything is done that a secret may be part of, right or wrong.

What is refused must be refused; nothing here looks for the secrets afterwards.
"""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

from control_api.routes.table import ROUTES, Route
from tests.kit.bad_credentials import REGION, bad_bodies, credential_body
from tests.kit.canary import Canaries
from tests.kit.desk import Desk
from tests.kit.edge import until
from tests.kit.load import Load
from tests.kit.planes import RunningHome
from tests.kit.raw import get, request
from tests.kit.upstream import Seen, Upstream


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
            body = credential_body("proxy", kind)
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
        body = credential_body(side, kind, secret, **fields)
        key = {"idempotency-key": self.odd()}
        made = self.desk.done("POST", self.credentials, body, headers=key)
        assert self.desk.done("POST", self.credentials, body, headers=key) == made
        other = {**body, "credentialSecret": {**secret, next(iter(secret)): self.odd()}}
        self.desk.refused(409, "POST", self.credentials, other, headers=key)
        assert "credentialSecret" not in made
        return made["credentialId"], next(iter(secret.values()))

    # refusals

    def _refuse(self) -> None:
        for body in bad_bodies(self.canaries):
            self.desk.refused(422, "POST", self.credentials, body)
        for caller, secret in (("header", {"key": self.odd()}), ("bearer", {"token": self.odd()})):
            path = f"{self.credentials}/{self.callers[caller][0]}"
            kind = "bearer" if caller == "bearer" else "apiKey"
            whole = credential_body("proxy", kind, secret)
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

    # requests that are not even that

    def _break_http(self) -> None:
        secret = self.odd()
        body = json.dumps(credential_body("proxy", "apiKey", {"key": secret})).encode()
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
                return is_in(self.upstream.seen[-1], secret)

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


def is_in(seen: Seen, secret: str) -> bool:
    """Whether a request that the target got has the secret, in a field or in its query."""
    return quote(secret, safe="") in seen.target or any(secret in value for _, value in seen.headers)
