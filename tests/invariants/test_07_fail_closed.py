"""Invariant 7: what cannot be applied lets nothing through in clear, and never takes others down with it.

A rule that cannot be told apart from one that does not match would be a hole; so would a proxy that came up
without some of its rules.
"""

from __future__ import annotations

import dataclasses
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models import rules
from models.errors import Refusal
from models.patterns import PatternSet, compile_set
from models.policy import BrokenProxy, CompiledProxy
from models.request import CanonicalRequest
from models.resources.rule import Rule
from tests.invariants.talk import Talk
from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.memory import MemoryEdge, bundle, settle
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Upstream

OFTEN = {"EXEAT_POLICY_POLL_SECONDS": "0.05"}
HUGE = [f"(\\pL{{76}}|{number})" for number in range(16)]
"""Patterns that are each within bounds and together too large for one set."""


def with_second(url: str, rules: list[dict[str, Any]], **second: Any) -> dict[str, Any]:
    """A policy with proxy `api` and, on a target of its own, proxy `two` with these rules."""
    whole = policy(url)
    whole["proxies"].append(
        {
            **whole["proxies"][0],
            "proxyId": "second",
            "proxyAlias": "two",
            "rules": rules,
            **second,
        }
    )
    return whole


def too_much() -> list[dict[str, Any]]:
    return [{"effect": "deny", "path": {"pattern": pattern}} for pattern in HUGE]


def call(edge: EdgeProcess, path: str) -> RawAnswer:
    with RawClient(edge.port, 20.0) as client:
        client.send(get(path))
        return client.answer()


def code(answer: RawAnswer) -> tuple[int, str | None]:
    return answer.status, answer.get("exeat-proxy-code")


# -- proxies that cannot be compiled --------------------------------------------------------------------


def test_a_broken_proxy_is_refused_alone(tmp_path: Path) -> None:
    """By id and by alias it is 503, nothing is sent for it, and the other proxies of the revision work."""
    with Upstream() as upstream, running_edge(tmp_path, with_second(upstream.url, too_much())) as edge:
        for name in ("two", "second"):
            answer = call(edge, f"/api/{name}/x")
            assert code(answer) == (503, "policy-unavailable")
            assert b"pattern" not in answer.body
        assert upstream.seen == []
        assert code(call(edge, "/api/api/x")) == (200, "proxy-access-granted")
        with RawClient(edge.port) as client:
            client.send(get("/ready", key=None))
            ready = client.answer()
            client.send(get("/health", key=None))
            assert client.answer().status == 200
        assert ready.status == 200
        assert json.loads(ready.body)["brokenProxies"] == ["second"]
        assert "proxy cannot be compiled" in edge.log()


def test_a_proxy_that_breaks_by_a_change_is_refused_from_then_on(tmp_path: Path) -> None:
    """The old rules are not kept for it either: what was allowed before is 503 now, and works again when repaired."""
    with Upstream() as upstream:
        good = with_second(upstream.url, [])
        with running_edge(tmp_path, good, environment=OFTEN) as edge:
            assert code(call(edge, "/api/two/x"))[0] == 200
            edge.write_policy(with_second(upstream.url, too_much()))
            until(lambda: call(edge, "/api/two/x").status == 503, 30)
            assert code(call(edge, "/api/two/x")) == (503, "policy-unavailable")
            assert call(edge, "/api/api/x").status == 200
            edge.write_policy(good)
            until(lambda: call(edge, "/api/two/x").status == 200, 30)


@pytest.mark.parametrize("place", ["caller", "sender", "target"])
def test_a_shared_scope_that_breaks_takes_all_its_proxies_and_no_other(tmp_path: Path, place: str) -> None:
    """Rules of a credential or target that cannot be compiled refuse every proxy that they govern."""
    # A record could not tell such a rule from the scope's default, so it is not compiled.
    unusable = [{"ruleId": "default", "effect": "deny", "path": {"pattern": "^/never"}}]
    document = policy("http://192.0.2.1", **{place: {"rules": unusable}})
    free = policy("http://192.0.2.1")
    for kind, name in (("credentials", "caller"), ("credentials", "sender"), ("targets", "target")):
        key = f"{kind[:-1]}Id"
        document[kind].append({**next(one for one in free[kind] if one[key] == name), key: f"free-{name}"})
    proxy = document["proxies"][0]
    document["proxies"] += [
        {**proxy, "proxyId": "shares", "proxyAlias": "sharing"},
        {
            **proxy,
            "proxyId": "free",
            "proxyAlias": "free-one",
            "proxyProxyCredentialId": "free-caller",
            "proxyTargetId": "free-target",
            "proxyTargetCredentialId": "free-sender",
        },
    ]
    compiled = bundle(tmp_path, document).policy
    assert isinstance(compiled.proxies[b"api"], BrokenProxy)
    assert isinstance(compiled.proxies[b"sharing"], BrokenProxy)
    assert isinstance(compiled.proxies[b"free-one"], CompiledProxy)
    assert {one.id for one in compiled.broken} == {"proxy-one", "shares"}


def test_a_pattern_out_of_bounds_refuses_the_file(tmp_path: Path) -> None:
    """A single bad pattern never comes into force: the edge keeps what it has and says where the fault is."""
    with Upstream() as upstream:
        good = with_second(upstream.url, [{"effect": "deny", "path": {"pattern": "^/no"}}])
        with running_edge(tmp_path, good, environment=OFTEN) as edge:
            assert call(edge, "/api/two/no").status == 403
            for pattern in ("(", "a{101}", "(?=x)", "x" * 1025, "(a{100}){100}"):
                edge.write_policy(
                    with_second(upstream.url, [{"effect": "deny", "path": {"pattern": pattern}}])
                )
                until(lambda: b'"policyFault":"' in ready_body(edge), 30)
                assert call(edge, "/api/two/no").status == 403
                assert call(edge, "/api/two/yes").status == 200
                edge.write_policy(good)
                until(lambda: b'"policyFault":null' in ready_body(edge), 30)


def ready_body(edge: EdgeProcess) -> bytes:
    with RawClient(edge.port) as client:
        client.send(get("/ready", key=None))
        return client.answer().body


# -- rules whose matching gives up ----------------------------------------------------------------------


class GivesUp:
    """A compiled set that tells nothing whenever it likes, in RE2's own way: by saying that nothing matched.

    (That RE2's sets really do so is shown in tests/models/test_patterns.py.)
    """

    def __init__(self, patterns: list[str], lot: random.Random) -> None:
        self._scan = compile_set(patterns).scan
        self._lot = lot

    def Match(self, text: bytes) -> list[int]:  # noqa: N802 - RE2's name
        return [] if self._lot.random() < 0.5 else self._scan(text)


def test_rules_hold_when_the_pattern_set_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that could not tell is never taken for one that found nothing, nor remembered as such."""
    lot = random.Random(7)

    def compiled(patterns: list[str], **_names: object) -> PatternSet:
        return PatternSet(GivesUp(patterns, lot), tuple(pattern.encode() for pattern in patterns))

    monkeypatch.setattr(rules, "compile_set", compiled)
    made = [
        Rule.model_validate({"ruleId": rule_id, "effect": effect, "path": path})
        for rule_id, effect, path in (
            ("open", "allow", {"pattern": "^/open"}),
            ("no", "deny", {"pattern": "/forbidden$"}),
            ("only", "deny", {"pattern": "^/(open|other)", "presence": "must_not_exist"}),
        )
    ]
    names = ("proxyCredential", "targetCredential", "proxy", "target")
    scopes = [rules.compile_scope(name, made if name == "proxy" else [], "allow") for name in names]
    four = rules.FourScopes((scopes[0], scopes[1], scopes[2], scopes[3]))
    for _ in range(50):
        for path, effect, by in (
            (b"/open", "allow", "open"),
            (b"/open/forbidden", "deny", "no"),
            (b"/other", "allow", "default"),
            (b"/elsewhere", "deny", "only"),
            (b"/other/\xff/forbidden", "deny", "no"),
        ):
            request = CanonicalRequest(b"GET", path, b"", [])
            outcome = scopes[2].judge(request)
            assert (outcome.effect, outcome.by) == (effect, by), path
            assert four.judge(request).effect == effect, path


# -- steps that cannot do their work --------------------------------------------------------------------


class Faulty:
    """A stand-in for compiled rules with a bug in them."""

    def judge(self, _request: CanonicalRequest) -> Any:
        raise RuntimeError("canary-text-of-an-unexpected-error")


async def test_an_unexpected_error_in_a_judgement_denies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in a step ends that request with 500 and sends nothing; it is logged, never answered with its text."""
    memory = MemoryEdge(tmp_path, policy("http://target.test"))
    enforced = memory.edge.policy
    healthy = enforced.proxies[b"api"]
    assert isinstance(healthy, CompiledProxy)
    faulty: Any = Faulty()
    broken = dataclasses.replace(healthy, scopes=dict.fromkeys(healthy.scopes, faulty))
    memory.edge.policy = dataclasses.replace(enforced, proxies={b"api": broken})
    talk = Talk(memory)
    answer = await talk.send(get("/api/api/x"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"exeat-proxy-code: internal-error\r\n" in answer
    assert b"canary" not in answer
    assert talk.sent == b""
    assert "exchange failed" in caplog.text
    memory.edge.policy = enforced
    await talk.send(get("/api/api/x"))
    assert talk.sent.startswith(b"GET /x HTTP/1.1\r\n")
    memory.permits.close()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"sender": {"credentialExpiresAt": "2001-01-01T00:00:00Z"}}, (503, "credential-unavailable")),
        ({"caller": {"credentialExpiresAt": "2001-01-01T00:00:00Z"}}, (401, "credential-rejected")),
        ({"proxyActive": False}, (403, "proxy-inactive")),
        ({"proxyDefaultRuleEffect": "deny"}, (403, "rule-denied")),
        ({"target": {"targetDefaultRuleEffect": "deny"}}, (403, "rule-denied")),
        ({"sender": {"credentialDefaultRuleEffect": "deny"}}, (403, "rule-denied")),
        ({"caller": {"credentialDefaultRuleEffect": "deny"}}, (403, "rule-denied")),
    ],
)
async def test_what_is_missing_refuses(
    tmp_path: Path, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """No live lease, an expired caller, a proxy switched off, a default of deny: refused, and nothing dialled."""
    memory = MemoryEdge(tmp_path, policy("http://target.test", **fields))
    talk = Talk(memory)
    answer = await talk.send(get("/api/api/x"))
    assert answer.startswith(b"HTTP/1.1 %d " % expected[0])
    assert b"exeat-proxy-code: %b\r\n" % expected[1].encode() in answer
    assert memory.dialler.connections == []
    memory.permits.close()


def test_a_credential_that_expires_while_the_edge_runs_is_gone(tmp_path: Path) -> None:
    """Nothing in the file changes: its time alone ends the credential."""
    with Upstream() as upstream:
        end = datetime.now(UTC) + timedelta(seconds=3)
        document = policy(upstream.url, sender={"credentialExpiresAt": end.isoformat()})
        with running_edge(tmp_path, document) as edge:
            assert call(edge, "/api/api/x").status == 200
            until(lambda: call(edge, "/api/api/x").status == 503, 30)
            assert code(call(edge, "/api/api/x")) == (503, "credential-unavailable")


@pytest.mark.parametrize(
    "change",
    [
        {"proxyActive": False},
        {"proxyDefaultRuleEffect": "deny"},
        {"sender": {"credentialExpiresAt": "2001-01-01T00:00:00Z"}},
        {"rules": [{"effect": "deny"}]},
    ],
    ids=["inactive", "default", "expired", "rule"],
)
async def test_a_change_during_the_dial_is_heeded_before_anything_is_sent(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """After the wait for a connection the request is judged again by the policy that holds then."""
    memory = MemoryEdge(tmp_path / "edge", policy("http://target.test"))
    talk = Talk(memory)
    talk.connection.data_received(get("/api/api/x"))
    assert talk.transport.take() == b""
    memory.edge.apply(bundle(tmp_path / "changed", policy("http://target.test", **change)))
    await settle()
    answer = talk.transport.take()
    assert answer.split(b" ")[1] in {b"403", b"503"}
    assert len(memory.dialler.connections) == 1
    assert talk.sent == b""
    memory.permits.close()


# -- bodies that rules or filters cannot see ------------------------------------------------------------


def test_every_refusal_is_an_error_status() -> None:
    """No refusal of ours can be mistaken for the target's success."""
    kinds = Refusal.__subclasses__()
    assert kinds
    assert all(kind.status >= 400 for kind in kinds)
