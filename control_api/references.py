"""Whether what a resource names exists, belongs to the same client and region, and fits where it stands.

Pure, and asked again with every try of a write, because another write may have come first. An id of another
client is worded as one that does not exist.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from control_api.kinds import FILTER, RULE
from control_api.ledger.change import Key
from control_api.ledger.projection import Projection, Resource
from control_api.proposals import Body, FieldErrors, body_of
from models.errors import PatternError
from models.patterns import compile_set, pattern_size
from models.resources import Filter, Proxy, Rule
from models.resources.filter import MOST_FILTERS

RULES_MAX: Final = 1000
"""Rules on one credential, target or proxy."""
PROGRAM_MAX: Final = 500_000
"""RE2 instructions of all patterns of the rules, and of the filters, of one scope: every edge compiles them anew with each change of it, in about 0.5 s."""


def check_region(projection: Projection, region: str, field: str) -> FieldErrors:
    """Whether a region is enrolled."""
    return (
        [] if projection.get("region", region) is not None else [(field, "there is no region of this name")]
    )


def find(projection: Projection, kind: str, resource_id: str, client_id: str) -> Resource | None:
    """A client's own resource, or None."""
    found = projection.get(kind, resource_id)
    return found if found is not None and found.client_id == client_id else None


def check_proxy(projection: Projection, proxy: Proxy, single: bool) -> FieldErrors:
    """Everything a proxy refers to, and its alias. single: its caller was given as the one id, not as a list."""
    errors = check_region(projection, proxy.region, "proxyRegion")
    for index, one in enumerate(proxy.proxy_credential_ids):
        field = "proxyProxyCredentialId" if single else f"proxyProxyCredentialIds[{index}]"
        errors += _check_reference(projection, proxy, "credential", one, field, side="proxy")
    errors += _check_reference(projection, proxy, "target", proxy.target_id, "proxyTargetId")
    errors += _check_reference(
        projection, proxy, "credential", proxy.target_credential_id, "proxyTargetCredentialId", side="target"
    )
    if proxy.alias is not None:
        taken = projection.alias(proxy.region, proxy.alias)
        if taken not in {None, proxy.id} or projection.get("proxy", proxy.alias) is not None:
            errors.append(("proxyAlias", "is already taken in this region"))
    return errors


def _check_reference(
    projection: Projection, proxy: Proxy, kind: str, one: str, field: str, *, side: str = ""
) -> FieldErrors:
    found = find(projection, kind, one, proxy.client_id)
    if found is None:
        return [(field, f"there is no {kind} with this id")]
    if side and found.body["credentialType"] != side:
        return [
            (field, f"is a {found.body['credentialType']} credential; a {side} credential is needed here")
        ]
    region = found.body[f"{kind}Region"]
    if region != proxy.region:
        return [(field, f"is in region {region}; the proxy is in {proxy.region}")]
    return []


def check_rule(projection: Projection, rule: Rule, parent: Key) -> FieldErrors:
    """Whether `rule` fits beside the other rules of its scope: how many there may be, and what their patterns weigh."""
    others = [one.body for one in projection.list("rule", parent=parent) if one.id != rule.id]
    if len(others) >= RULES_MAX:
        return [("rules", f"has {RULES_MAX} rules already, the most there may be")]
    own = body_of(RULE, rule)
    if not _patterns(own):
        return []
    field = (
        "path.pattern"
        if rule.path is not None
        else "headerChecks"
        if rule.header_checks
        else "queryChecks"
        if rule.query_checks
        else "bodyChecks"
    )
    if sum(pattern_size(pattern) for body in (*others, own) for pattern in _patterns(body)) > PROGRAM_MAX:
        return [(field, "does not fit beside the other rules: the patterns are too large together")]
    verdict = set_verdict(set_of(projection, own, rule.id, parent))
    return [(field, f"does not fit beside the other rules: {verdict}")] if verdict else []


def check_filter(projection: Projection, one: Filter, parent: Key) -> FieldErrors:
    """Whether a filter fits beside the other filters of its stage: how many there may be, and what their patterns weigh."""
    others = [part.body for part in projection.list("filter", parent=parent) if part.id != one.id]
    if len(others) >= MOST_FILTERS:
        return [("filters", f"has {MOST_FILTERS} filters already, the most there may be")]
    own = body_of(FILTER, one)
    patterns = [body["path"]["pattern"] for body in (*others, own) if body.get("path")]
    if own.get("path") and sum(pattern_size(pattern) for pattern in patterns) > PROGRAM_MAX:
        return [
            ("path.pattern", "does not fit beside the other filters: the patterns are too large together")
        ]
    return []


def set_of(projection: Projection, own: Body, rule_id: str, parent: Key) -> tuple[str, ...]:
    """The path patterns that the edge will search together once `own` is the body of that rule."""
    others = [one.body for one in projection.list("rule", parent=parent) if one.id != rule_id]
    found = [body["path"]["pattern"] for body in (*others, own) if body.get("path") and body["active"]]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=16)
def set_verdict(patterns: tuple[str, ...]) -> str:
    """Why RE2 refuses these as one set; empty when it does not. Remembered, so that it can be asked off the loop first."""
    try:
        compile_set(patterns)
    except PatternError as error:
        return error.message
    return ""


def _patterns(body: Body) -> list[str]:
    """Every pattern of a rule."""
    checks = [*body.get("headerChecks", ()), *body.get("queryChecks", ())]
    found = [check[name] for check in checks for name in ("name", "value") if name in check]
    found += [
        check[name]["pattern"]
        for check in body.get("bodyChecks", ())
        for name in ("jsonPath", "matchValue")
        if check.get(name)
    ]
    return [*found, body["path"]["pattern"]] if body.get("path") else found
