"""The planes together: what is made through the API governs calls at the edge, and every change soon does.

The time of a change runs from the moment the API answered `exeat-propagation: applied` until every worker of the
edge has shown it. It may be `IN_FORCE` seconds; a machine of two cores that runs other tests beside this one may
stop the process that measures for a while, which `NOISE` makes up for. Nothing is measured twice.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.secret import Secret
from scripts.bench.propagation import figures, measure
from sdk import ApiProblem, Change, ExeatClient
from tests.kit.edge import until
from tests.kit.governed import Governed, Workers
from tests.kit.load import Load
from tests.kit.planes import RunningHome, running_home
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Upstream

HERE, THERE = "us-east-1", "eu-west-1"
IN_FORCE, NOISE = 1.0, 1.0
FORBIDDEN = "http://10.255.255.1"
"""An address that no test's home may reach."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def workers(shared_home: RunningHome) -> Iterator[Workers]:
    """Connections to the workers of the edge of the first region."""
    with Workers(shared_home.edge_port(HERE), shared_home.workers) as found:
        yield found


@pytest.fixture
def one(shared_home: RunningHome, upstream: Upstream) -> Governed:
    """A tenant of its own, in force."""
    return shared_home.govern(upstream.url)


def call(
    governed: Governed, *, key: str | None = None, port: int | None = None, path: str = "/x"
) -> RawAnswer:
    with RawClient(port or governed.port) as client:
        client.send(ask(governed, key=key, path=path))
        return client.answer()


def ask(governed: Governed, *, key: str | None = None, path: str = "/x") -> bytes:
    return get(governed.path + path, key=key or governed.key)


def code(answer: RawAnswer) -> str | None:
    return answer.get("exeat-proxy-code")


def shows(status: int, named: str) -> Callable[[RawAnswer], bool]:
    return lambda answer: (answer.status, code(answer)) == (status, named)


class Enforced:
    """Writes, and holds every worker to the time in which the write must be in force."""

    def __init__(self, home: RunningHome, workers: Workers) -> None:
        self._home, self._workers = home, workers

    def after(
        self,
        write: Callable[[ExeatClient], Any],
        request: bytes,
        expected: Callable[[RawAnswer], object],
    ) -> Any:
        """The write's answer, once all workers show it; fails when that took too long."""
        made = self._home.do(write)
        answered = time.monotonic()
        change = made if isinstance(made, Change) else made.change
        assert change.propagation == "applied"
        took = self._workers.since(answered, request, expected)
        assert took <= IN_FORCE + NOISE, f"in force after {took:.3f} s"
        return made


@pytest.fixture
def enforced(shared_home: RunningHome, workers: Workers) -> Enforced:
    return Enforced(shared_home, workers)


# -- a governed call --------------------------------------------------------------------------------


def test_what_the_api_made_governs_at_its_region_only(shared_home: RunningHome, upstream: Upstream) -> None:
    """The proxy's base URL is at its region's edge, a rule decides there, and the other region knows nothing of it."""
    rules = [{"effect": "deny", "path": {"pattern": "^/private"}}]
    governed = shared_home.govern(upstream.url, region=THERE, rules=rules)
    assert governed.edge_url == shared_home.edge_url(THERE)
    assert shows(200, "proxy-access-granted")(call(governed))
    denied = call(governed, path="/private/1")
    assert shows(403, "rule-denied")(denied)
    assert governed.rules[0].id.encode() in denied.body
    assert shows(401, "credential-rejected")(call(governed, key="not-the-key-of-anybody"))
    assert shows(404, "proxy-unknown")(call(governed, port=shared_home.edge_port(HERE)))


def test_injected_credential_reaches_the_target_and_never_the_caller(
    shared_home: RunningHome, upstream: Upstream, one: Governed
) -> None:
    """The target gets it and not the caller's key; its echo comes back without it, in whatever form."""
    answer = call(one, path="/mirror")
    seen = next(seen for seen in upstream.seen if seen.target == "/mirror")
    assert seen.all("authorization") == [f"Bearer {one.secret}"]
    assert one.key not in repr(seen)
    assert answer.status == 200
    whole = answer.raw_head + answer.body
    plain = one.secret.encode()
    for form in (plain, plain.hex().encode(), base64.b64encode(plain).rstrip(b"=")):
        assert form not in whole
    shown = shared_home.do(lambda api: api.credentials.get(one.client_id, one.sender_id))
    assert one.secret not in repr(shown.wire)


def test_either_region_injects_its_own(shared_home: RunningHome, upstream: Upstream) -> None:
    """One client with a proxy in each region: each edge serves its own and has its own credential."""
    first = shared_home.govern(upstream.url, region=HERE)
    second = shared_home.govern(upstream.url, region=THERE, client_id=first.client_id)
    for governed, path in ((first, "/first"), (second, "/second")):
        assert call(governed, path=path).status == 200
        seen = next(seen for seen in upstream.seen if seen.target == path)
        assert seen.get("authorization") == f"Bearer {governed.secret}"
    assert first.port != second.port
    assert call(first, key=second.key).status == 401


# -- changes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "parent"),
    [
        ("proxies", "proxy_id"),
        ("targets", "target_id"),
        ("credentials", "caller_id"),
        ("credentials", "sender_id"),
    ],
)
def test_rule_is_in_force_within_a_second(enforced: Enforced, one: Governed, scope: str, parent: str) -> None:
    """A rule that is added, replaced and deleted, in each of the four scopes."""
    where = (one.client_id, getattr(one, parent))
    granted, denied = shows(200, "proxy-access-granted"), shows(403, "rule-denied")

    def deny(pattern: str) -> dict[str, Any]:
        return {"effect": "deny", "path": {"pattern": pattern}}

    made = enforced.after(
        lambda api: getattr(api, scope).rules.create(*where, deny("^/v1")), ask(one, path="/v1/x"), denied
    )
    enforced.after(
        lambda api: getattr(api, scope).rules.replace(*where, made.id, deny("^/v2")),
        ask(one, path="/v1/x"),
        granted,
    )
    assert denied(call(one, path="/v2/x"))
    enforced.after(
        lambda api: getattr(api, scope).rules.delete(*where, made.id), ask(one, path="/v2/x"), granted
    )


def test_limit_is_in_force_within_a_second(enforced: Enforced, one: Governed) -> None:
    """A limit set, lowered below what the day has seen, and taken off again."""
    patch = patcher(one)
    request = ask(one)
    enforced.after(patch(max_requests_per_day=50), request, lambda answer: "q=50" in limit(answer))
    enforced.after(patch(max_requests_per_day=1), request, shows(429, "limit-exceeded"))
    enforced.after(patch(max_requests_per_day=None), request, lambda answer: answer.status == 200)
    assert limit(call(one)) == ""


def limit(answer: RawAnswer) -> str:
    return answer.get("ratelimit-policy") or ""


def patcher(governed: Governed) -> Callable[..., Callable[[ExeatClient], Any]]:
    """`patcher(one)(active=False)` is a write for `Enforced.after`."""
    return lambda **fields: lambda api: api.proxies.patch(governed.client_id, governed.proxy_id, **fields)


def test_inactive_proxy_and_its_alias_are_in_force_within_a_second(enforced: Enforced, one: Governed) -> None:
    """`proxyActive`, `proxyAlias`, and the proxy's own default effect."""
    patch, request = patcher(one), ask(one)
    enforced.after(patch(active=False), request, shows(403, "proxy-inactive"))
    enforced.after(patch(active=True), request, shows(200, "proxy-access-granted"))
    enforced.after(patch(default_rule_effect="deny"), request, shows(403, "rule-denied"))
    enforced.after(patch(default_rule_effect="allow"), request, shows(200, "proxy-access-granted"))
    alias = f"alias-{one.proxy_id[-8:]}"
    by_alias = get(f"/api/{alias}/x", key=one.key)
    enforced.after(patch(alias=alias), by_alias, shows(200, "proxy-access-granted"))
    enforced.after(patch(alias=None), by_alias, shows(404, "proxy-unknown"))


def test_new_callers_secret_overlaps_with_the_old_one(
    shared_home: RunningHome, enforced: Enforced, one: Governed
) -> None:
    """The new key is valid within a second, the old one as long as the overlap says, and no longer."""
    key = f"new-caller-key-{one.caller_id[-12:]}"
    seconds = 3

    def renew(api: ExeatClient) -> Any:
        return api.credentials.patch(
            one.client_id, one.caller_id, secret={"key": Secret(key)}, overlap_seconds=seconds
        )

    enforced.after(renew, ask(one, key=key), shows(200, "proxy-access-granted"))
    renewed = time.monotonic()
    assert call(one).status == 200  # the old one, meanwhile
    until(lambda: call(one).status == 401, seconds + IN_FORCE + NOISE, "the end of the overlap")
    assert time.monotonic() - renewed > seconds - IN_FORCE - NOISE
    assert call(one, key=key).status == 200


def test_new_secret_without_overlap_ends_the_old_one(enforced: Enforced, one: Governed) -> None:
    """The old key is refused within a second of the answer."""
    key = f"new-caller-key-{one.caller_id[-12:]}"

    def renew(api: ExeatClient) -> Any:
        return api.credentials.patch(one.client_id, one.caller_id, secret={"key": Secret(key)})

    enforced.after(renew, ask(one), shows(401, "credential-rejected"))
    assert call(one, key=key).status == 200


def test_new_targets_secret_is_injected_within_a_second(
    enforced: Enforced, upstream: Upstream, one: Governed
) -> None:
    """A lease of the version before is not used any more, although it lasts longer."""
    token = f"new-target-token-{one.sender_id[-12:]}"
    assert call(one).status == 200  # the lease is taken

    def renew(api: ExeatClient) -> Any:
        return api.credentials.patch(one.client_id, one.sender_id, secret={"token": Secret(token)})

    def injected(answer: RawAnswer) -> bool:
        assert answer.status == 200
        return upstream.seen[-1].get("authorization") == f"Bearer {token}"

    enforced.after(renew, ask(one), injected)


def test_moved_target_is_in_force_within_a_second(
    enforced: Enforced, upstream: Upstream, one: Governed
) -> None:
    """Another path at the same host, then another host, for which the credential is leased anew."""

    def move(url: str) -> Callable[[ExeatClient], Any]:
        return lambda api: api.targets.patch(one.client_id, one.target_id, base_url=url)

    enforced.after(move(f"{upstream.url}/moved"), ask(one), lambda _: upstream.seen[-1].target == "/moved/x")
    with Upstream() as other:
        enforced.after(move(other.url), ask(one), lambda _: bool(other.seen))
        assert other.seen[-1].get("authorization") == f"Bearer {one.secret}"


def test_deleted_proxy_is_unknown_within_a_second(
    shared_home: RunningHome, enforced: Enforced, one: Governed
) -> None:
    """404 at the edge; what it referred to can be deleted then, not before."""
    with pytest.raises(ApiProblem) as refused:
        shared_home.do(lambda api: api.targets.delete(one.client_id, one.target_id))
    assert (refused.value.status, refused.value.references) == (409, (one.proxy_id,))
    enforced.after(
        lambda api: api.proxies.delete(one.client_id, one.proxy_id), ask(one), shows(404, "proxy-unknown")
    )
    for group, resource in (
        ("targets", one.target_id),
        ("credentials", one.caller_id),
        ("credentials", one.sender_id),
    ):
        shared_home.do(
            lambda api, group=group, resource=resource: getattr(api, group).delete(one.client_id, resource)
        )


def test_revision_tells_who_has_a_change(shared_home: RunningHome, workers: Workers, one: Governed) -> None:
    """Once an edge is said to have it, no worker of it answers by anything older."""
    for active in (False, True, False, True):
        made = shared_home.do(patcher(one)(active=active))
        shared_home.in_force(made.change)
        expected = {200} if active else {403}
        assert {answer.status for answer in workers.ask(ask(one))} == expected
    found = shared_home.do(lambda api: api.revision(made.change.revision))
    assert [region.region for region in found.regions] == [HERE]
    assert found.status == "applied"
    assert found.regions[0].revision >= made.change.revision
    assert [edge.status for edge in found.regions[0].edges] == ["applied"]


def test_bench_measures_changes(shared_home: RunningHome, upstream: Upstream) -> None:
    """Every change of `scripts.bench.propagation` is applied and in force in time."""
    samples = shared_home.do(lambda api: measure(api, upstream.url, 6))
    assert len(samples) == 6
    assert figures(samples).pending == 0
    assert max(sample.enforced for sample in samples) <= (IN_FORCE + NOISE) * 1000


# -- tests of targets -------------------------------------------------------------------------------


def test_target_is_tried_from_an_edge(shared_home: RunningHome, upstream: Upstream, one: Governed) -> None:
    """The test path is called, with the credential where one is named; the answer has status and timing only."""
    patched = shared_home.do(
        lambda api: api.targets.patch(one.client_id, one.target_id, test_path="/healthz?probe=1")
    )
    shared_home.in_force(patched.change)
    before = len(upstream.seen)
    bare = shared_home.do(lambda api: api.targets.test(one.client_id, one.target_id))
    told = shared_home.do(
        lambda api: api.targets.test(one.client_id, one.target_id, credential_id=one.sender_id)
    )
    for result in (bare, told):
        assert (result.status, result.code) == (200, None)
        assert result.duration_ms is not None
        assert 0 < result.duration_ms < 10_000
        assert set(result.wire) == {"status", "code", "durationMs"}
    first, second = upstream.seen[before:]
    assert first.target == second.target == "/healthz?probe=1"
    assert first.get("authorization") is None
    assert second.get("authorization") == f"Bearer {one.secret}"


def test_target_test_says_what_went_wrong(
    shared_home: RunningHome, upstream: Upstream, one: Governed
) -> None:
    """A forbidden address, nobody there, and a credential that may not be used: never more than a code."""
    forbidden = shared_home.govern(FORBIDDEN, client_id=one.client_id)
    nobody = shared_home.govern("http://127.0.0.1:9", client_id=one.client_id)

    def test(target: str, credential: str | None = None) -> Any:
        return shared_home.do(lambda api: api.targets.test(one.client_id, target, credential_id=credential))

    assert (test(forbidden.target_id).status, test(forbidden.target_id).code) == (None, "target-forbidden")
    assert test(nobody.target_id).code == "target-unreachable"
    assert code(call(forbidden)) == "target-forbidden"
    revoked = shared_home.do(lambda api: api.credentials.revoke(one.client_id, one.sender_id))
    shared_home.in_force(revoked.change)
    before = len(upstream.seen)
    assert test(one.target_id, one.sender_id).code == "credential-unavailable"
    assert len(upstream.seen) == before
    with pytest.raises(ApiProblem) as refused:
        test(one.target_id, one.caller_id)
    assert [field.field for field in refused.value.errors] == ["credentialId"]


# -- revocation -------------------------------------------------------------------------------------


def test_revocation_stops_a_leased_credential(
    shared_home: RunningHome, enforced: Enforced, upstream: Upstream, one: Governed
) -> None:
    """While calls use its lease: refused within a second at every worker, and never sent again, nor brought back."""
    assert call(one).status == 200
    enforced.after(
        lambda api: api.credentials.revoke(one.client_id, one.sender_id),
        ask(one),
        shows(503, "credential-unavailable"),
    )
    before = len(upstream.seen)
    with Load(one.port, one.path, keepalive=4, key=one.key) as load:
        load.wait(200)
    assert load.statuses().keys() == {503}
    assert len(upstream.seen) == before
    with pytest.raises(ApiProblem) as refused:
        shared_home.do(
            lambda api: api.credentials.patch(
                one.client_id, one.sender_id, secret={"token": Secret("another-token-of-it")}
            )
        )
    assert refused.value.status == 409


def test_revocation_under_load_lets_no_later_call_through(
    shared_home: RunningHome, upstream: Upstream, one: Governed
) -> None:
    """Calls without a pause on eight connections: none that was sent after a second succeeds."""
    with Load(one.port, one.path, keepalive=8, key=one.key) as load:
        load.wait(100)
        revoked = shared_home.do(lambda api: api.credentials.revoke(one.client_id, one.sender_id))
        answered = time.monotonic()
        assert revoked.status == "revoked"
        until(lambda: {call.status for call in load.calls[-100:]} == {503}, 10, "only refusals")
        load.wait(200)
    late = [call for call in load.calls if call.sent > answered + IN_FORCE + NOISE]
    assert not [call for call in late if call.status != 503]
    last = max(call.sent for call in load.calls if call.status == 200)
    assert last - answered < IN_FORCE + NOISE
    assert load.calls[-1].code == "credential-unavailable"


def test_revoked_caller_is_refused(shared_home: RunningHome, enforced: Enforced, one: Governed) -> None:
    """Also while a proxy refers to the credential, which stays as it was otherwise."""
    enforced.after(
        lambda api: api.credentials.revoke(one.client_id, one.caller_id),
        ask(one),
        shows(401, "credential-rejected"),
    )
    shown = shared_home.do(lambda api: api.credentials.get(one.client_id, one.caller_id))
    assert shown.status == "revoked"


# -- two homes --------------------------------------------------------------------------------------


def test_two_homes_with_the_same_names_do_not_meet(
    shared_home: RunningHome, upstream: Upstream, tmp_path: Path
) -> None:
    """Same region, names and alias: each edge knows its own callers, each API its own token and ids."""
    alias = {"alias": "the-same"}
    with running_home(tmp_path / "second", regions=(HERE,), workers=1) as second:
        first_one = shared_home.govern(upstream.url, name="twin", proxy=alias)
        second_one = second.govern(upstream.url, name="twin", proxy=alias)
        for home, mine, other in (
            (shared_home, first_one, second_one),
            (second, second_one, first_one),
        ):
            path = f"/{mine.secret[-6:]}"
            assert call(mine._replace(path="/api/the-same"), path=path).status == 200
            seen = next(seen for seen in upstream.seen if seen.target == path)
            assert seen.get("authorization") == f"Bearer {mine.secret}"
            assert call(mine._replace(path="/api/the-same"), key=other.key).status == 401
            assert call(mine._replace(path=other.path)).status == 404
            with pytest.raises(ApiProblem) as unknown:
                home.do(lambda api, other=other: api.proxies.get(other.client_id, other.proxy_id))
            assert unknown.value.status == 404
        assert set(shared_home.processes()).isdisjoint(second.processes())
        with pytest.raises(ApiProblem) as stranger:
            asyncio.run(whose(shared_home, second.token))
        assert stranger.value.status == 401
    assert call(first_one).status == 200  # the end of one home is not the other's


async def whose(home: RunningHome, token: str) -> Any:
    """Who a home takes the bearer of a token for."""
    async with home.client(token) as api:
        return await api.users.me()
