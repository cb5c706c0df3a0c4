"""Bad input over the real wire: each is refused as API.md says, naming the field, and leaves nothing in the log.

A write before and one after tell the log's head; nothing may have come between them, and the region's policy
stays as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import pytest

from sdk import ApiProblem, ExeatClient
from tests.kit.governed import Governed
from tests.kit.planes import RunningHome
from tests.kit.raw import RawClient, get
from tests.kit.upstream import Upstream

HERE, THERE = "us-east-1", "eu-west-1"


class World(NamedTuple):
    """What the bad requests are about. mine: in one region; there: of the same client in the other one."""

    home: RunningHome
    upstream: str
    mine: Governed
    there: Governed
    others: Governed

    @property
    def path(self) -> str:
        """Of my client."""
        return f"/clients/{self.mine.client_id}"

    def proxy(self, **fields: Any) -> dict[str, Any]:
        """A proxy that could be made, but for `fields`."""
        return {
            "proxyName": "another",
            "proxyRegion": HERE,
            "proxyProxyCredentialId": self.mine.caller_id,
            "proxyTargetId": self.mine.target_id,
            "proxyTargetCredentialId": self.mine.sender_id,
            **fields,
        }

    def head(self) -> int:
        """Makes a write and says its revision."""
        answer = self.home.do(
            lambda api: api.call(
                "PATCH", f"{self.path}/targets/{self.mine.target_id}", {"targetName": "same"}
            )
        )
        assert answer.change is not None
        return answer.change.revision

    @contextlib.contextmanager
    def nothing_stored(self) -> Iterator[None]:
        """Fails when anything was written inside, or the audit list has grown."""
        before, audited = self.head(), self.audit()
        yield
        assert self.head() == before + 1
        assert len(self.audit()) == len(audited) + 1

    def audit(self) -> list[str]:
        """The ids of all my client's changes."""
        page = self.home.do(lambda api: api.audit.page(self.mine.client_id, limit=1000))
        return [entry.id for entry in page.items]

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> ApiProblem:
        """The problem that a call is answered with."""
        with pytest.raises(ApiProblem) as refused:
            self.home.do(lambda api: api.call(method, path, body, **options))
        return refused.value


@pytest.fixture(scope="module")
def world(shared_home: RunningHome) -> Iterator[World]:
    with Upstream() as server:
        mine = shared_home.govern(server.url, rules=[{"effect": "deny", "path": {"pattern": "^/never"}}])
        there = shared_home.govern(server.url, region=THERE, client_id=mine.client_id)
        others = shared_home.govern(server.url, name="others")
        yield World(shared_home, server.url, mine, there, others)


@pytest.fixture(autouse=True)
def unchanged(world: World) -> Iterator[None]:
    """Every test here: nothing is stored, and the edge goes on as before."""
    with world.nothing_stored():
        yield
    with RawClient(world.mine.port) as client:
        client.send(get(f"{world.mine.path}/x", key=world.mine.key))
        assert client.answer().status == 200


GENERATED = {
    "credentialName": "generated",
    "credentialType": "proxy",
    "credentialAuthType": "apiKey",
    "credentialRegion": HERE,
}
"""A credential whose secret the API makes."""

Bad = Callable[[World], tuple[str, Mapping[str, Any]]]


def target(**fields: Any) -> Bad:
    body = {"targetName": "t", "targetBaseURL": "http://127.0.0.1:9", "targetRegion": HERE}
    return lambda world: (f"{world.path}/targets", {**body, **fields})


def credential(**fields: Any) -> Bad:
    body = {
        "credentialName": "c",
        "credentialType": "target",
        "credentialAuthType": "bearer",
        "credentialRegion": HERE,
        "credentialSecret": {"token": "a-token-that-is-long"},
    }
    return lambda world: (f"{world.path}/credentials", {**body, **fields})


def proxy(fields: Callable[[World], Mapping[str, Any]]) -> Bad:
    return lambda world: (f"{world.path}/proxies", world.proxy(**fields(world)))


def rule(**fields: Any) -> Bad:
    return lambda world: (
        f"{world.path}/proxies/{world.mine.proxy_id}/rules",
        {"effect": "allow", **fields},
    )


BAD: dict[str, tuple[Bad, str]] = {
    "unknown field": (target(targetColour="red"), "targetColour"),
    "misplaced unknown field": (rule(path={"pattern": "x", "patern": "y"}), "path.patern"),
    "wrong type": (target(targetTimeoutMs="soon"), "targetTimeoutMs"),
    "wrong type of a flag": (proxy(lambda _: {"proxyActive": 1}), "proxyActive"),
    "bad value": (target(targetScrub="never"), "targetScrub"),
    "a URL with a query": (target(targetBaseURL="http://127.0.0.1:9/?a=1"), "targetBaseURL"),
    "unknown region": (target(targetRegion="mars-1"), "targetRegion"),
    "unknown region of a credential": (credential(credentialRegion="mars-1"), "credentialRegion"),
    "short secret": (credential(credentialSecret={"token": "short"}), "credentialSecret.token"),
    "secret of another type": (
        credential(credentialSecret={"token": "a-token-that-is-long", "key": "a-key-that-is-long"}),
        "credentialSecret.key",
    ),
    "caller's credential towards the target": (
        proxy(lambda world: {"proxyTargetCredentialId": world.mine.caller_id}),
        "proxyTargetCredentialId",
    ),
    "target's credential for callers": (
        proxy(lambda world: {"proxyProxyCredentialId": world.mine.sender_id}),
        "proxyProxyCredentialId",
    ),
    "another client's target": (
        proxy(lambda world: {"proxyTargetId": world.others.target_id}),
        "proxyTargetId",
    ),
    "another client's credential": (
        proxy(lambda world: {"proxyTargetCredentialId": world.others.sender_id}),
        "proxyTargetCredentialId",
    ),
    "another region's target": (
        proxy(lambda world: {"proxyTargetId": world.there.target_id}),
        "proxyTargetId",
    ),
    "another region's credential": (
        proxy(lambda world: {"proxyProxyCredentialId": world.there.caller_id}),
        "proxyProxyCredentialId",
    ),
    "both forms of a caller": (
        proxy(lambda world: {"proxyProxyCredentialIds": [world.mine.caller_id]}),
        "proxyProxyCredentialIds",
    ),
    "alias like an id": (proxy(lambda world: {"proxyAlias": world.mine.proxy_id}), "proxyAlias"),
    "pattern that RE2 refuses": (rule(path={"pattern": "(?=x)"}), "path.pattern"),
    "pattern that is too long": (rule(path={"pattern": "x" * 1025}), "path.pattern"),
    "pattern that counts too far": (rule(path={"pattern": "x{101}"}), "path.pattern"),
    "pattern of a header that RE2 refuses": (
        rule(headerChecks=[{"name": "x-a"}, {"name": "x-b", "value": "["}]),
        "headerChecks[1].value",
    ),
    "method that does not exist": (rule(methods=["GET", "FETCH"]), "methods[1]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_field_is_named(world: World, case: str) -> None:
    """422, with the field and no other."""
    bad, field = BAD[case]
    path, body = bad(world)
    problem = world.call("POST", path, body)
    assert (problem.status, [error.field for error in problem.errors]) == (422, [field])
    assert problem.request_id


def test_another_clients_id_is_worded_as_an_unknown_one(world: World) -> None:
    """Nobody learns which ids there are."""
    there_is = world.call("POST", f"{world.path}/proxies", world.proxy(proxyTargetId=world.others.target_id))
    there_is_not = world.call(
        "POST", f"{world.path}/proxies", world.proxy(proxyTargetId="tgt_00000000000000000000000000000000")
    )
    assert there_is.errors == there_is_not.errors


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_another_clients_resource_is_not_found(world: World, method: str) -> None:
    """404 in my client's path, whatever is asked of it."""
    for kind, one in (
        ("proxies", world.others.proxy_id),
        ("targets", world.others.target_id),
        ("credentials", world.others.sender_id),
    ):
        problem = world.call(method, f"{world.path}/{kind}/{one}", {} if method == "PATCH" else None)
        assert (problem.status, problem.code) == (404, "not-found")


def test_all_wrong_fields_are_named_at_once(world: World) -> None:
    """One answer for all of them."""
    path, body = target(targetScrub="never", targetTimeoutMs=-1, colour=1)(world)
    fields = {error.field for error in world.call("POST", path, body).errors}
    assert fields == {"targetScrub", "targetTimeoutMs", "colour"}


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":1}{"b":2}', b'{"targetName":"\xff"}', b"targetName=x"])
def test_body_that_is_not_json_is_refused(world: World, body: bytes) -> None:
    """400, before anything else is looked at."""
    answer = httpx.post(
        f"{world.home.control_url}/v1{world.path}/targets",
        content=body,
        headers={"Authorization": world.home.token, "Content-Type": "application/json"},
        trust_env=False,
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not-json"


@pytest.fixture(scope="module")
def crowded(world: World) -> tuple[str, ...]:
    """The ids of rules on a target of mine, fair alone, beside which hardly another one fits."""
    where = (world.mine.client_id, world.there.target_id)

    async def crowd(api: ExeatClient) -> tuple[str, ...]:
        made: list[str] = []
        with contextlib.suppress(ApiProblem):
            while True:
                rule = await api.targets.rules.create(
                    *where, effect="allow", path={"pattern": large_pattern(len(made))}
                )
                made.append(rule.id)
        return tuple(made)

    return world.home.do(crowd)


def large_pattern(number: int) -> str:
    """One of many that RE2 takes alone."""
    return rf"^/{number}[\pL\pN]{{64}}"


def test_pattern_that_does_not_fit_beside_the_others_is_refused(
    world: World, crowded: tuple[str, ...]
) -> None:
    """Each of them alone would do; 422 names the field of the last one."""
    where = f"{world.path}/targets/{world.there.target_id}/rules"
    assert len(crowded) > 2
    problem = world.call("POST", where, {"effect": "allow", "path": {"pattern": large_pattern(1000)}})
    assert (problem.status, [error.field for error in problem.errors]) == (422, ["path.pattern"])
    kept = world.home.do(lambda api: api.targets.rules.page(world.mine.client_id, world.there.target_id))
    assert tuple(rule.id for rule in kept.items) == crowded


def test_what_is_referred_to_cannot_be_deleted(world: World) -> None:
    """409 with the ids of what refers to it."""
    for kind, one in (
        ("targets", world.mine.target_id),
        ("credentials", world.mine.caller_id),
        ("credentials", world.mine.sender_id),
    ):
        problem = world.call("DELETE", f"{world.path}/{kind}/{one}")
        assert (problem.status, problem.references) == (409, (world.mine.proxy_id,))
    client = world.call("DELETE", world.path)
    assert client.status == 409
    assert world.mine.proxy_id in client.references


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_stale_if_match_is_refused(world: World, method: str) -> None:
    """412; the resource stays at its revision."""
    path = f"{world.path}/proxies/{world.mine.proxy_id}"
    now = world.home.do(lambda api: api.proxies.get(world.mine.client_id, world.mine.proxy_id)).revision
    body = {"proxyActive": False} if method == "PATCH" else None
    assert world.call(method, path, body, if_match=now - 1).status == 412
    after = world.home.do(lambda api: api.proxies.get(world.mine.client_id, world.mine.proxy_id))
    assert (after.revision, after.active) == (now, True)


@pytest.fixture(scope="module")
def used_key(world: World) -> str:
    """An `Idempotency-Key` that made a credential before, whose secret was shown then."""
    key = f"made-once-{world.mine.client_id}"
    world.home.do(lambda api: api.call("POST", f"{world.path}/credentials", GENERATED, idempotency_key=key))
    return key


def test_reused_idempotency_key_is_refused(world: World, used_key: str) -> None:
    """409 for another body; the same again is answered from before, without the secret."""
    path = f"{world.path}/credentials"
    other = {**GENERATED, "credentialName": "other"}
    problem = world.call("POST", path, other, idempotency_key=used_key)
    assert problem.status == 409
    again = world.home.do(lambda api: api.call("POST", path, GENERATED, idempotency_key=used_key))
    assert again.data is not None
    assert "credentialSecret" not in again.data["credentials"][0]


def test_fixed_and_read_only_fields_are_refused(world: World) -> None:
    """The region is fixed at creation; what the system says may only come back unchanged."""
    path = f"{world.path}/proxies/{world.mine.proxy_id}"
    assert [error.field for error in world.call("PATCH", path, {"proxyRegion": THERE}).errors] == [
        "proxyRegion"
    ]
    other = {"proxyBaseURL": "http://127.0.0.1:1/api/x"}
    assert [error.field for error in world.call("PATCH", path, other).errors] == ["proxyBaseURL"]


def test_taken_alias_is_refused(world: World) -> None:
    """Unique in its region, whoever has it."""
    problem = world.call("POST", f"{world.path}/proxies", world.proxy(proxyAlias=world.others.path[5:]))
    assert [error.field for error in problem.errors] == ["proxyAlias"]
