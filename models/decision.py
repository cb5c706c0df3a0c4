"""What the rules decided about one request: per scope, and all four together, in the record's words.

Values only, made by `models.rules` and shared between requests; nothing here may be changed once made.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, Literal

import msgspec

Effect = Literal["allow", "deny"]
DEFAULT: Final = "default"
"""In the place of a rule id: no rule matched, the scope's default decided."""

_pack = msgspec.msgpack.Encoder().encode


class ScopeOutcome(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """What one scope decided (API.md section 4).

    scope: proxyCredential, targetCredential, proxy or target. by: id of the rule that decided, or
    `default`. matched: ids of the enforced rules that matched, highest priority first, then as given.
    shadow: likewise of rules in shadow mode, which decide nothing.
    """

    scope: str
    effect: Effect
    by: str
    matched: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, dict=True):
    """What all four scopes decided. scopes: in the order proxyCredential, targetCredential, proxy, target."""

    effect: Effect
    scopes: tuple[ScopeOutcome, ScopeOutcome, ScopeOutcome, ScopeOutcome]

    def first_denial(self) -> tuple[str, str | None]:
        """(scope, rule id) of the first scope that denies; the id is None where its default decided.

        Raises ValueError when every scope allows.
        """
        for outcome in self.scopes:
            if outcome.effect != "allow":
                return outcome.scope, None if outcome.by == DEFAULT else outcome.by
        raise ValueError("no scope denies")

    @cached_property
    def packed(self) -> msgspec.Raw:
        """The decision in msgpack, fields by position: the form in which an `Opening` takes it cheapest."""
        return msgspec.Raw(_pack((self.effect, [msgspec.structs.astuple(one) for one in self.scopes])))
