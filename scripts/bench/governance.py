"""What every governed peer has to enforce: keys, ten rules in each of four scopes, two limits.

One description from which each peer's own configuration is generated, so that they are judged on the
same patterns. Pure values; the keys are random per run and must never reach a table or a log.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from models.secret import Secret

SCOPES = ("proxyCredential", "targetCredential", "proxy", "target")
KEY_HEADER = "X-API-Key"
LOAD_PATH = "/v1/items/42"
LIMITED_PATH = "/v1/limited/one"
"""Judged like the load path, but by a limit of one call a minute: shows that limits are in force."""
SEEN_PATH = "/v1/seen/one"
"""The upstream says which credentials it saw, without repeating them."""
ECHO_PATH = "/v1/echo/one"
"""The upstream repeats the injected credential, in a header and in the body: shows the scrub."""
PEOPLE_PATH = "/v1/people/one"
"""The upstream tells of people: shows redaction."""
UNMATCHED_PATH = "/v3/nothing/here"
"""No rule matches it, so the scopes' default decides: deny."""
PER_MINUTE = 100_000_000
PER_DAY = 1_000_000_000
"""Limits that are counted for every call and never reached."""

ALLOWED = r"^/v1/(items|limited|seen|echo)/[a-z0-9-]+$"
"""The one allow rule of each scope that matches. Anchored at both ends, because Envoy matches a
pattern against the whole path and Exeat anywhere in it: anchored, both do the same work."""

_WORDS = {
    "proxyCredential": ("admin", "internal", "debug", "tokens", "sessions", "keys", "grants"),
    "targetCredential": ("invoices", "payouts", "refunds", "ledgers", "disputes", "cards", "banks"),
    "proxy": ("exports", "imports", "bulk", "batches", "archive", "purge", "restore"),
    "target": ("audit", "webhooks", "hooks", "members", "roles", "invites", "domains"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its effect and an RE2 pattern for the path."""

    effect: Literal["allow", "deny"]
    pattern: str


@dataclass(frozen=True, slots=True)
class Keys:
    """The caller's key and the upstream's bearer token of one run."""

    caller: Secret
    bearer: Secret

    def withhold(self, text: str) -> str:
        """`text` without either key."""
        for key in (self.caller, self.bearer):
            text = text.replace(key.reveal().decode(), "***")
        return text


def new_keys() -> Keys:
    """Fresh keys with 192 random bits each."""
    return Keys(Secret("caller-" + secrets.token_hex(24)), Secret("bearer-" + secrets.token_hex(24)))


def rules(scope: str) -> list[Rule]:
    """The ten rules of a scope: seven denials that do not match, three allowances of which one does.

    The matching one is last, so that a peer that stops early has evaluated all ten as well.
    """
    words = _WORDS[scope]
    denials = [Rule("deny", rf"^/v[0-9]+/{word}(/.*)?$") for word in words]
    others = [Rule("allow", rf"^/v2/{word}/[0-9]+$") for word in words[:2]]
    return [*denials, *others, Rule("allow", ALLOWED)]


def denied_path(scope: str) -> str:
    """A path that a deny rule of this scope matches, and a deny rule of no other."""
    return f"/v1/{_WORDS[scope][0]}/one"
