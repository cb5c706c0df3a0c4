"""Rules, requests and scopes in few words, for tests of what rules decide."""

from __future__ import annotations

from models.decision import ScopeOutcome
from models.request import CanonicalRequest
from models.resources.rule import BodyCheck, Matcher, Rule
from models.rules import compile_scope

NAMES = ("proxyCredential", "targetCredential", "proxy", "target")


def rule(name: str, effect: str = "deny", **fields) -> Rule:
    return Rule(id=name, effect=effect, **fields)


def call(path=b"/", method=b"GET", query=b"", headers=()) -> CanonicalRequest:
    return CanonicalRequest(method, path, query, list(headers))


def outcome(rules, request=None, default="allow") -> ScopeOutcome:
    return compile_scope("proxy", rules, default).judge(request or call())


def looks(path: str, value: str | None = None, presence: str = "must_exist") -> BodyCheck:
    return BodyCheck(
        json_path=Matcher(pattern=path),
        match_value=None if value is None else Matcher(pattern=value),
        presence=presence,
    )
