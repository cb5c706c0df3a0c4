"""Documents: written in one canonical form, read in full or not at all, and made into what an edge enforces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from models.custody.capability import Wanted
from models.custody.sheet import Digest, Entry, Sheet
from models.custody.signing import Signed
from models.errors import CredentialRejected
from models.planes.documents import (
    DocumentReader,
    LeaseNeeds,
    PolicyCredential,
    Unreadable,
    credential_document,
    lease_needs,
    policy_sources,
    proxy_document,
    read_document,
    target_document,
)
from models.planes.state import Document, Manifest, RegionState
from models.policy import BrokenProxy, CompiledPolicy, CompiledProxy, compile_policy
from models.request import CanonicalRequest
from models.resources import Proxy
from models.secret import Secret
from models.verifiers import keyed_digest

REGION, CLIENT = "us", "cli_one"
PEPPER = Secret(b"p" * 32)
KEY, OLD_KEY = b"caller-key-0123456789", b"older-key-0123456789"
NOW = 1_800_000_000_000
RULE = {"ruleId": "rule_1", "effect": "deny", "path": {"pattern": "^/admin", "presence": "must_exist"}}


def credential(
    identity: str, side: str = "proxy", rules: Any = (), revision: int = 3, **fields: Any
) -> Document:
    body: dict[str, Any] = {
        "credentialName": identity,
        "credentialType": side,
        "credentialAuthType": "apiKey" if side == "proxy" else "bearer",
        "credentialRegion": REGION,
        "credentialPlacement": {"in": "header", "name": "Authorization", "prefix": ""},
        "credentialVersion": 1,
        "credentialStatus": "active",
        **fields,
    }
    return credential_document(identity, CLIENT, revision, body, rules)


def target(identity: str = "tgt", rules: Any = (), **fields: Any) -> Document:
    body = {
        "targetName": identity,
        "targetRegion": REGION,
        "targetBaseURL": "https://api.test/v1",
        "targetTestPath": None,
        **fields,
    }
    return target_document(identity, CLIENT, 3, body, rules)


def proxy(identity: str, rules: Any = (), **fields: Any) -> Document:
    body = {
        "proxyName": identity,
        "proxyRegion": REGION,
        "proxyProxyCredentialIds": ["caller"],
        "proxyTargetId": "tgt",
        "proxyTargetCredentialId": "sender",
        **fields,
    }
    return proxy_document(identity, CLIENT, 3, body, rules)


def region(*documents: Document) -> RegionState:
    """A region with a caller, a sender, a target, and these documents over them."""
    base = (credential("caller"), credential("sender", "target"), target())
    found = {(one.kind, one.id): one for one in (*base, *documents)}
    return RegionState(REGION, found, Manifest(REGION, 7, "", 1), Signed(b"", b""))


def sheet(*entries: Entry, revoked: tuple[str, ...] = ()) -> Sheet:
    found = entries or (Entry("caller", 1, (Digest(keyed_digest(KEY, PEPPER)),)),)
    return Sheet(REGION, 1, "pep", found, revoked)


def policy(state: RegionState, found: Sheet | None = None, now_ms: int = NOW) -> CompiledPolicy:
    return compile_policy(policy_sources(state, found or sheet(), PEPPER, now_ms)[0])


def accepts(compiled: CompiledPolicy, key: bytes = KEY, name: bytes = b"prx") -> bool:
    one = compiled.proxies[name]
    assert isinstance(one, CompiledProxy)
    try:
        return (
            one.callers.authenticate(CanonicalRequest(b"GET", b"/", b"", [(b"x-api-key", key)])) == "caller"
        )
    except CredentialRejected:
        return False


def test_a_document_is_one_text_whatever_the_order() -> None:
    """Keys sorted, no blanks: the same resource gives the same bytes, and so the same root."""
    body = {"targetName": "t", "targetRegion": REGION, "targetBaseURL": "https://api.test"}
    first = target_document("tgt", CLIENT, 4, body, [RULE])
    second = target_document("tgt", CLIENT, 4, dict(reversed(body.items())), [dict(reversed(RULE.items()))])
    assert first == second
    assert first.text.startswith(b'{"clientId":"cli_one","rules":[{"effect":"deny","path"')
    assert orjson.loads(first.text) == {**body, "targetId": "tgt", "clientId": CLIENT, "rules": [RULE]}


def test_filters_ride_beside_the_rules() -> None:
    """In one form for every owner, read back as they were; a document without any says nothing of them."""
    one = {"filterId": "flt_1", "action": "mask", "paths": ["$..pan"], "mask": {"keepLast": 4}}
    documents = {
        "credential": credential_document(
            "c", CLIENT, 4, orjson.loads(credential("c").text), [], filters=[one]
        ),
        "target": target_document("t", CLIENT, 4, orjson.loads(target("t").text), [RULE], filters=[one]),
        "proxy": proxy_document("p", CLIENT, 4, orjson.loads(proxy("p").text), [], filters=[one]),
    }
    for kind, document in documents.items():
        assert (
            b'"filters":[{"action":"mask","filterId":"flt_1","mask":{"keepLast":4},"paths":["$..pan"]}]'
            in document.text
        )
        found = read_document(document, REGION)
        assert not isinstance(found, Unreadable), (kind, found)
        assert [(each.id, each.paths) for each in found.filters] == [("flt_1", ("$..pan",))]
    assert b"filters" not in target("t", [RULE]).text


def test_a_filter_that_is_not_understood_breaks_what_needs_it() -> None:
    """As if a newer control plane had sent it: the proxy is refused, and no answer passes unfiltered."""
    one = {"filterId": "flt_1", "action": "hash", "paths": ["$..pan"]}
    bad = target_document("tgt", CLIENT, 4, orjson.loads(target().text), [], filters=[one])
    compiled = policy(region(bad, proxy("prx")))
    [broken] = compiled.broken
    assert (broken.id, isinstance(compiled.proxies[b"prx"], BrokenProxy)) == ("prx", True)
    assert "filters[0].action" in broken.reason


def test_a_credential_document_never_holds_a_secret() -> None:
    """The writer refuses; an empty place for one is left out."""
    with pytest.raises(ValueError, match="no secret") as error:
        credential("c", credentialSecret={"key": "canary-0123456789"})
    assert "canary" not in str(error.value)
    assert b"credentialSecret" not in credential("c", credentialSecret=None).text


@pytest.mark.parametrize(
    "fields",
    [
        {"proxyProxyCredentialId": "caller"},
        {"proxyProxyCredentialId": "caller", "proxyProxyCredentialIds": []},
        {"proxyProxyCredentialId": None},
    ],
    ids=str,
)
def test_a_proxy_is_written_with_either_form_of_callers(fields: dict[str, Any]) -> None:
    """Also when the resource is given as it reads back, with both."""
    found = read_document(proxy("prx", **fields), REGION)
    assert isinstance(found, Proxy)
    assert found.proxy_credential_ids == ("caller",)


def test_a_credential_is_read_without_its_secret() -> None:
    """With everything else the edge needs."""
    found = read_document(
        credential("c", rules=[RULE], credentialVersion=4, credentialExpiresAt="2030-01-31T00:00:00.500Z"),
        REGION,
    )
    assert isinstance(found, PolicyCredential)
    assert (found.id, found.client_id, found.version, found.expires_ms) == ("c", CLIENT, 4, 1_896_048_000_500)
    assert found.placement is not None
    assert (found.placement.location, found.placement.name) == ("header", "Authorization")
    assert [one.id for one in found.rules] == ["rule_1"]


UNREADABLE: dict[str, Document] = {
    "no JSON": Document("target", "tgt", 3, b"{"),
    "no object": Document("target", "tgt", 3, b"[]"),
    "another id": Document("target", "tgt", 3, target("other").text),
    "another kind": Document("target", "tgt", 3, credential("tgt").text),
    "an unknown kind": Document("meter", "tgt", 3, b"{}"),
    "another region": target(targetRegion="eu"),
    "an unknown field": target(targetWeather="fine"),
    "a value out of range": target(targetTimeoutMs=-5),
    "a pattern that does not compile": target(rules=[{**RULE, "path": {"pattern": "("}}]),
    "a rule of a newer version": target(rules=[{**RULE, "claimChecks": []}]),
    "very deep": Document("target", "tgt", 3, b'{"a":' * 5000 + b"1" + b"}" * 5000),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_unreadable_target_breaks_its_proxies_alone(what: str) -> None:
    """They are refused with the reason; every other proxy works (invariant 7)."""
    bad = UNREADABLE[what]
    key = ("target", "tgt")
    documents = {
        **region(target("tgt2"), proxy("good", proxyTargetId="tgt2"), proxy("bad")).documents,
        key: bad,
    }
    compiled = policy(RegionState(REGION, documents, None, None))
    assert accepts(compiled, name=b"good")
    assert compiled.broken == (compiled.proxies[b"bad"],)
    assert isinstance(compiled.broken[0], BrokenProxy)
    assert "target tgt" in compiled.broken[0].reason


@pytest.mark.parametrize(
    "fields",
    [{"credentialPlacement": None}, {"credentialPlacement": {"in": "header", "name": "Host"}},
     {"credentialStatus": "odd"}, {"credentialAuthType": "jwt"}, {"credentialSecret2": "x"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("one", ["caller", "sender"])
def test_an_unreadable_credential_breaks_its_proxies_alone(one: str, fields: Mapping[str, Any]) -> None:
    """On either side."""
    side = "proxy" if one == "caller" else "target"
    good = proxy("good", proxyProxyCredentialIds=["caller2"], proxyTargetCredentialId="sender2")
    compiled = policy(
        region(
            credential("caller2"),
            credential("sender2", "target"),
            proxy("bad"),
            good,
            credential(one, side, **fields),
        ),
    )
    assert isinstance(compiled.proxies[b"good"], CompiledProxy)
    assert [(broken.id, f"credential {one}" in broken.reason) for broken in compiled.broken] == [
        ("bad", True)
    ]


def test_an_unreadable_proxy_is_still_known() -> None:
    """By id and alias, as broken; it never takes a name that another has."""
    bad = proxy("bad", proxyAlias="its-alias", proxyWeather="fine")
    worse = Document("proxy", "worse", 3, b"{")
    thief = proxy("thief", proxyAlias="taken", proxyWeather="fine")
    compiled = policy(region(bad, worse, thief, proxy("good", proxyAlias="taken")))
    assert [one.id for one in compiled.broken] == ["bad", "worse", "thief"]
    assert compiled.proxies[b"bad"] is compiled.proxies[b"its-alias"]
    assert isinstance(compiled.proxies[b"worse"], BrokenProxy)
    assert compiled.proxies[b"taken"] is compiled.proxies[b"good"]
    assert isinstance(compiled.proxies[b"good"], CompiledProxy)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"proxyTargetId": "gone"}, "there is no target gone"),
        ({"proxyTargetCredentialId": "gone"}, "there is no credential gone"),
        ({"proxyProxyCredentialIds": ["caller", "gone"]}, "there is no credential gone"),
        ({"proxyTargetCredentialId": "caller"}, "credential caller is no target credential"),
        ({"proxyProxyCredentialIds": ["sender"]}, "credential sender is no proxy credential"),
        ({"proxyTargetId": "foreign"}, "target foreign is of another client"),
    ],
)
def test_a_proxy_that_does_not_fit_together_is_refused_alone(fields: dict[str, Any], reason: str) -> None:
    """As if the control plane had overlooked it."""
    foreign = target_document("foreign", "cli_two", 3, orjson.loads(target().text), ())
    found = {name: value for name, value in orjson.loads(foreign.text).items() if name != "rules"}
    other = target_document("foreign", "cli_two", 3, {**found, "targetId": "foreign"}, ())
    compiled = policy(region(other, proxy("bad", **fields), proxy("prx")))
    assert [(one.id, one.reason) for one in compiled.broken] == [("bad", reason)]
    assert accepts(compiled)


def test_an_unreadable_text_is_never_quoted() -> None:
    """The reason names fields of ours and types."""
    secret = orjson.dumps(
        {**orjson.loads(credential("c").text), "credentialSecret": {"key": "canary-0123456789"}}
    )
    for text in (secret, b'"canary-0123456789"', b"canary"):
        found = read_document(Document("credential", "c", 3, text), REGION)
        assert isinstance(found, Unreadable)
        assert "canary" not in found.reason


def test_callers_are_verified_by_the_sheet() -> None:
    """All of its digests; nobody before the first sheet, nor under another pepper."""
    state = region(proxy("prx"))
    digests = (Digest(keyed_digest(KEY, PEPPER)), Digest(keyed_digest(OLD_KEY, PEPPER), NOW + 10))
    found = sheet(Entry("caller", 2, digests))
    sources, expiry = policy_sources(state, found, PEPPER, NOW)
    assert (sources.revision, sources.region, expiry) == (7, REGION, NOW + 10)
    assert accepts(compile_policy(sources), KEY)
    assert accepts(compile_policy(sources), OLD_KEY)
    assert not accepts(compile_policy(policy_sources(state, None, PEPPER, NOW)[0]))
    assert not accepts(compile_policy(policy_sources(state, found, Secret(b"q" * 32), NOW)[0]))


def test_an_old_key_ends_when_its_time_has_passed() -> None:
    """Then nothing more is due."""
    digests = (Digest(keyed_digest(KEY, PEPPER)), Digest(keyed_digest(OLD_KEY, PEPPER), NOW + 10))
    sources, expiry = policy_sources(
        region(proxy("prx")), sheet(Entry("caller", 2, digests)), PEPPER, NOW + 10
    )
    assert expiry is None
    assert accepts(compile_policy(sources), KEY)
    assert not accepts(compile_policy(sources), OLD_KEY)


DEAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "expired": ({"credentialExpiresAt": "2020-01-01T00:00:00Z"}, ()),
    "revoked by its document": ({"credentialStatus": "revoked"}, ()),
    "revoked by the sheet": ({}, ("caller", "sender")),
}


@pytest.mark.parametrize("why", DEAD)
def test_a_dead_caller_keeps_its_place(why: str) -> None:
    """Nothing it presents is accepted, and what stands there is stripped all the same."""
    fields, revoked = DEAD[why]
    place = {"in": "query", "name": "key", "prefix": ""}
    state = region(credential("caller", credentialPlacement=place, **fields), proxy("prx"))
    compiled = policy(state, sheet(revoked=revoked))
    one = compiled.proxies[b"prx"]
    assert isinstance(one, CompiledProxy)
    assert one.callers.strip_query == {b"key"}
    with pytest.raises(CredentialRejected):
        one.callers.authenticate(CanonicalRequest(b"GET", b"/", b"key=" + KEY, []))


@pytest.mark.parametrize("why", DEAD)
def test_a_dead_sender_is_not_leased(why: str) -> None:
    """It is named, so that the leases there are go at once."""
    fields, revoked = DEAD[why]
    needs = lease_needs(
        region(credential("sender", "target", **fields), proxy("prx")), sheet(revoked=revoked), NOW
    )
    assert dict(needs.wanted) == {}
    assert "sender" in needs.refused


def test_what_has_to_be_leased() -> None:
    """For each proxy its credential and destination; nothing for type none or a proxy that is broken."""
    none = credential("open", "target", credentialAuthType="none", credentialPlacement=None)
    state = region(
        none,
        target("tgt2", targetBaseURL="http://[2001:db8::1]:8080"),
        proxy("one"),
        proxy("two", proxyTargetId="tgt2"),
        proxy("free", proxyTargetCredentialId="open"),
        proxy("bad", proxyTargetId="gone"),
    )
    assert lease_needs(state, None, NOW) == LeaseNeeds(
        wanted={
            "one": Wanted(CLIENT, "sender", "https", "api.test", 443),
            "two": Wanted(CLIENT, "sender", "http", "2001:db8::1", 8080),
        },
        free=frozenset({"open"}),
        refused=frozenset(),
        versions={"sender": 1, "open": 1},
    )


def test_the_next_expiry_is_the_nearest_end() -> None:
    """Of a credential of either side, or of a digest; what has passed does not count."""
    state = region(
        credential("caller", credentialExpiresAt="2030-01-01T00:00:00Z"),
        credential("sender", "target", credentialExpiresAt="2029-01-01T00:00:00Z"),
        proxy("prx"),
    )
    assert policy_sources(state, sheet(), PEPPER, NOW)[1] == 1_861_920_000_000
    assert policy_sources(state, sheet(), PEPPER, 1_861_920_000_000)[1] == 1_893_456_000_000
    assert policy_sources(state, sheet(), PEPPER, 1_893_456_000_000)[1] is None


def test_a_reader_reads_what_is_new() -> None:
    """A document that stays gives the same resource again; a changed or removed one does not linger."""
    reader = DocumentReader()
    first = reader(region(proxy("prx")))
    second = reader(region(proxy("prx", proxyActive=False)))
    assert second["target", "tgt"] is first["target", "tgt"]
    assert second["proxy", "prx"] is not first["proxy", "prx"]
    assert ("proxy", "prx") not in reader(region())
    moved = RegionState("eu", region().documents, None, None)
    assert isinstance(reader(moved)["target", "tgt"], Unreadable)


def test_rules_of_all_scopes_are_enforced() -> None:
    """From each of the four documents."""
    for document in (
        credential("caller", rules=[RULE]),
        credential("sender", "target", rules=[RULE]),
        target(rules=[RULE]),
        proxy("prx", rules=[RULE]),
    ):
        compiled = policy(region(proxy("prx"), document)).proxies[b"prx"]
        assert isinstance(compiled, CompiledProxy)
        judged = compiled.scopes["caller"].judge(CanonicalRequest(b"GET", b"/admin", b"", []))
        assert judged.effect == "deny"
