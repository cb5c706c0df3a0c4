"""The compiled policy: found by id and alias, scopes shared, and one broken proxy refused alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from models.policy import BrokenProxy, CompiledPolicy, CompiledProxy, PolicySources, compile_policy
from models.request import CanonicalRequest
from models.resources import Credential, Filter, Proxy, Rule, Target
from models.secret import Secret
from models.verifiers import Accepted, keyed_digest

PEPPER = Secret(b"p" * 32)
REGION = "us-east-1"


def credential(identity: str, kind: str, **fields: Any) -> Credential:
    secret = {"key": "k" * 16} if kind == "proxy" else {"token": "t" * 16}
    return Credential.model_validate(
        {
            "credentialId": identity,
            "clientId": "acme",
            "credentialName": identity,
            "credentialType": kind,
            "credentialAuthType": "apiKey" if kind == "proxy" else "bearer",
            "credentialRegion": REGION,
            "credentialSecret": secret,
            **fields,
        }
    )


def target(identity: str = "target", **fields: Any) -> Target:
    return Target.model_validate(
        {
            "targetId": identity,
            "clientId": "acme",
            "targetName": identity,
            "targetRegion": REGION,
            "targetBaseURL": "https://t.test:8443/v1/",
            **fields,
        }
    )


def proxy(identity: str, **fields: Any) -> Proxy:
    return Proxy.model_validate(
        {
            "proxyId": identity,
            "clientId": "acme",
            "proxyName": identity,
            "proxyRegion": REGION,
            "proxyProxyCredentialIds": ["caller"],
            "proxyTargetId": "target",
            "proxyTargetCredentialId": "sender",
            **fields,
        }
    )


def compiled(
    *proxies: Proxy, credentials: Sequence[Credential] = (), targets: Sequence[Target] = ()
) -> CompiledPolicy:
    known = {
        one.id: one for one in (credential("caller", "proxy"), credential("sender", "target"), *credentials)
    }
    return compile_policy(
        PolicySources(
            revision=7,
            region=REGION,
            credentials=list(known.values()),
            targets=list({one.id: one for one in (target(), *targets)}.values()),
            proxies=proxies,
            accepted={
                one.id: Accepted(one.id, "apiKey", (keyed_digest(one.id.encode(), PEPPER),))
                for one in known.values()
                if one.type == "proxy"
            },
            pepper=PEPPER,
        )
    )


def good(policy: CompiledPolicy, name: bytes) -> CompiledProxy:
    found = policy.proxies[name]
    assert isinstance(found, CompiledProxy)
    return found


def rule(identity: str, effect: str = "deny", **fields: Any) -> dict[str, Any]:
    return {"ruleId": identity, "effect": effect, **fields}


def unusable_rule() -> Rule:
    """One that validation would refuse: as if an older or newer control plane had let it through."""
    return Rule.model_construct(id="default", effect="deny", priority=0, methods=None, path=None, header_checks=(),
                                query_checks=(), mode="enforce", active=True, notes=None)  # fmt: skip


def filter_(identity: str, **fields: Any) -> dict[str, Any]:
    return {"filterId": identity, "action": "destroy", "paths": ["$.a"], **fields}


def unusable_filter() -> Filter:
    """One that validation would refuse."""
    return Filter.model_validate(filter_("bad")).model_copy(update={"paths": ("$[?@.a]",)})


def test_a_proxy_is_found_by_id_and_alias() -> None:
    """The same object, so that they share limits and connections."""
    policy = compiled(proxy("one", proxyAlias="first"), proxy("two"))
    assert set(policy.proxies) == {b"one", b"first", b"two"}
    assert policy.proxies[b"one"] is policy.proxies[b"first"]
    assert (policy.revision, policy.region, policy.broken) == (7, REGION, ())


def test_what_the_hot_path_needs_is_ready() -> None:
    """Authority, base path, timeout, limits and the key of its connections."""
    one = good(
        compiled(proxy("one", proxyMaxRequestsPerMinute=5), targets=[target(targetTimeoutMs=1500)]), b"one"
    )
    assert (one.target.scheme, one.target.host, one.target.port) == ("https", "t.test", 8443)
    assert (one.target.authority, one.target.base_path, one.target.timeout) == (b"t.test:8443", b"/v1", 1.5)
    assert one.lane == ("acme", "target", "https", "t.test", 8443, None)
    assert one.limit_policy == b'"minute";q=5;w=60'
    assert (one.active, one.record_drops, one.scrub) == (True, False, "full")
    assert (one.max_body_bytes, one.max_response_bytes) == (10_485_760, 52_428_800)


BROKEN = {
    "no such target": proxy("bad", proxyTargetId="gone"),
    "no such target credential": proxy("bad", proxyTargetCredentialId="gone"),
    "no such proxy credential": proxy("bad", proxyProxyCredentialIds=["caller", "gone"]),
    "a rule that cannot be compiled": proxy("bad").model_copy(update={"rules": (unusable_rule(),)}),
    "a filter that cannot be compiled": proxy("bad").model_copy(update={"filters": (unusable_filter(),)}),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_proxy_is_refused_alone(reason: str) -> None:
    """It stays known by id and alias, as broken, and takes no other down (invariant 7)."""
    bad = BROKEN[reason].model_copy(update={"alias": "bad-alias"})
    policy = compiled(proxy("before"), bad, proxy("after"))
    assert isinstance(policy.proxies[b"bad"], BrokenProxy)
    assert policy.proxies[b"bad"] is policy.proxies[b"bad-alias"]
    assert [one.id for one in policy.broken] == ["bad"]
    for name in (b"before", b"after"):
        assert (
            good(policy, name).scopes["caller"].judge(CanonicalRequest(b"GET", b"/", b"", [])).effect
            == "allow"
        )


def test_a_broken_target_breaks_only_its_proxies() -> None:
    """Its rules are shared, so every proxy that leads there is refused, and no other."""
    broken = target("broken").model_copy(update={"rules": (unusable_rule(),)})
    policy = compiled(
        proxy("a", proxyTargetId="broken"), proxy("b"), proxy("c", proxyTargetId="broken"), targets=[broken]
    )
    assert [one.id for one in policy.broken] == ["a", "c"]
    assert isinstance(policy.proxies[b"b"], CompiledProxy)


def test_scopes_are_shared_and_in_order() -> None:
    """A target's rules are compiled once for all its proxies; each caller has its own first scope."""
    policy = compiled(
        proxy("one", proxyProxyCredentialIds=["caller", "other"]),
        proxy("two"),
        credentials=[
            credential("other", "proxy", rules=[rule("r1")]),
            credential("sender", "target", rules=[rule("r2")]),
        ],
        targets=[target(rules=[rule("r3")])],
    )
    one, other, two = (
        good(policy, name).scopes[caller].scopes
        for name, caller in ((b"one", "caller"), (b"one", "other"), (b"two", "caller"))
    )
    assert [scope.name for scope in one] == ["proxyCredential", "targetCredential", "proxy", "target"]
    assert [mine is theirs for mine, theirs in zip(one, two, strict=True)] == [True, True, False, True]
    assert [mine is theirs for mine, theirs in zip(one, other, strict=True)] == [False, True, True, True]


def test_what_is_dropped_follows_from_the_target() -> None:
    """Cookies unless allowed; ranges and codings where bodies are scrubbed; the caller's own places always."""
    policy = compiled(
        proxy("one"),
        proxy("two", proxyTargetId="lenient"),
        targets=[target("lenient", targetCookies=True, targetScrub="headers")],
    )
    strict, lenient = good(policy, b"one").request_dropped, good(policy, b"two").request_dropped
    assert {b"cookie", b"range", b"accept-encoding", b"authorization", b"x-api-key"} < strict
    assert not {b"cookie", b"range", b"accept-encoding"} & lenient
    assert {b"authorization", b"x-api-key", b"connection"} < lenient


def test_nothing_is_scrubbed_without_a_secret() -> None:
    """Then ranges and compression stay possible."""
    none = credential("sender", "target", credentialAuthType="none", credentialSecret={})
    one = good(compiled(proxy("one"), credentials=[none]), b"one")
    assert one.scrub == "off"
    assert b"range" not in one.request_dropped


def stages(one: CompiledProxy, caller: str) -> list[list[str]]:
    assert one.filters is not None
    found = one.filters[caller].applicable(b"GET", b"/", 200)
    return [[each.id for each in stage.destroys] for stage in found]


def test_filters_stand_in_the_order_of_their_stages() -> None:
    """Target credential, target, the caller's own credential, proxy; what is shared is compiled once."""
    policy = compiled(
        proxy("one", proxyProxyCredentialIds=["caller", "other"], filters=[filter_("f4")]),
        proxy("two"),
        credentials=[
            credential("other", "proxy", filters=[filter_("f3")]),
            credential("sender", "target", filters=[filter_("f1")]),
        ],
        targets=[target(filters=[filter_("f2"), filter_("off", active=False)])],
    )
    one, two = good(policy, b"one"), good(policy, b"two")
    assert stages(one, "caller") == [["f1"], ["f2"], ["f4"]]
    assert stages(one, "other") == [["f1"], ["f2"], ["f3"], ["f4"]]
    assert stages(two, "caller") == [["f1"], ["f2"]]
    assert one.filters is not None
    assert two.filters is not None
    first, same = (
        each["caller"].applicable(b"GET", b"/", 200)[0].destroys[0] for each in (one.filters, two.filters)
    )
    assert first is same


def test_a_proxy_without_filters_pays_nothing() -> None:
    """None where none is active; with one, no request may ask for parts or codings, whatever it is for."""
    lenient = [target(targetScrub="off", filters=[filter_("off", active=False)])]
    bare = good(compiled(proxy("one"), targets=lenient), b"one")
    assert bare.filters is None
    assert not {b"range", b"if-range", b"accept-encoding"} & bare.request_dropped
    filtered = good(compiled(proxy("one", filters=[filter_("f", methods=["PUT"])]), targets=lenient), b"one")
    assert {b"range", b"if-range", b"accept-encoding"} < filtered.request_dropped
    assert set(filtered.filters or ()) == {"caller"}


def test_a_filter_of_a_target_breaks_only_its_proxies() -> None:
    """It is never left out."""
    broken = target("broken").model_copy(update={"filters": (unusable_filter(),)})
    policy = compiled(proxy("a", proxyTargetId="broken"), proxy("b"), targets=[broken])
    [one] = policy.broken
    assert one.id == "a"
    assert "target.filters[bad].paths[0]" in one.reason


def test_an_empty_policy_has_no_proxy() -> None:
    """What an edge holds before its first revision."""
    assert dict(CompiledPolicy.empty(REGION).proxies) == {}


def test_a_proxy_that_could_not_be_read_is_known_as_broken() -> None:
    """By id and alias, but never in the place of one that could be."""
    broken = (BrokenProxy("unread", "why", "its-alias"), BrokenProxy("thief", "why", "one"))
    policy = compile_policy(
        PolicySources(
            revision=1,
            region=REGION,
            credentials=[credential("caller", "proxy"), credential("sender", "target")],
            targets=[target()],
            proxies=[proxy("one")],
            accepted={"caller": Accepted("caller", "apiKey", ())},
            pepper=PEPPER,
            broken=broken,
        )
    )
    assert policy.broken == broken
    assert policy.proxies[b"unread"] is policy.proxies[b"its-alias"] is broken[0]
    assert isinstance(policy.proxies[b"one"], CompiledProxy)
