"""What is made through the API governs calls at the edge, and every change soon does."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest

from models.secret import Secret
from scripts.bench.propagation import figures, measure
from sdk import ApiProblem, ExeatClient
from tests.e2e.planes.changes import HERE, IN_FORCE, NOISE, THERE, Enforced, ask, call, shows
from tests.kit.edge import until
from tests.kit.governed import Governed, Workers
from tests.kit.planes import RunningHome
from tests.kit.raw import RawAnswer, get
from tests.kit.upstream import Upstream

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
