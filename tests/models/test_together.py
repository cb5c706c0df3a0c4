"""Four scopes put together: what decides at once, what waits for the body, and what shadows may do."""

from __future__ import annotations

import itertools

import pytest

from models.body_checks import NO_BODY, Body
from models.decision import Decision, ScopeOutcome
from models.together import OpenScope, Undecided, put_together

NAMES = ("proxyCredential", "targetCredential", "proxy", "target")
ALLOW, DENY = "allow", "deny"


def closed(effect: str, name: str = "proxy") -> ScopeOutcome:
    return ScopeOutcome(name, effect, "default")


def waiting(
    *, denies: bool = False, enforced: bool = True, without: str = ALLOW, finds: str = DENY
) -> OpenScope:
    return OpenScope(
        denies=denies,
        enforced=enforced,
        without=closed(without),
        finish=lambda _body, _watch: ScopeOutcome("proxy", finds, "by-body"),
    )


@pytest.mark.parametrize("effects", list(itertools.product([ALLOW, DENY], repeat=4)), ids="-".join)
def test_without_an_open_scope_all_must_allow(effects):
    """And the same outcomes give the same object."""
    four = tuple(closed(effect, name) for effect, name in zip(effects, NAMES, strict=True))
    decision = put_together(four)
    assert decision == Decision(DENY if DENY in effects else ALLOW, four)
    assert put_together(four) is decision


def test_an_open_scope_leaves_it_undecided():
    """Which is neither allowed nor denied; the body then decides."""
    undecided = put_together((closed(ALLOW), waiting(), closed(ALLOW), waiting(finds=ALLOW)))
    assert isinstance(undecided, Undecided)
    assert undecided.effect not in {ALLOW, DENY}
    assert undecided.enforced
    decision = undecided.judge(NO_BODY)
    assert decision.effect == DENY
    assert [one.by for one in decision.scopes] == ["default", "by-body", "default", "by-body"]


@pytest.mark.parametrize("sure", [closed(DENY), waiting(denies=True, without=DENY)], ids=["closed", "open"])
def test_a_scope_that_denies_whatever_the_body_is_decides_at_once(sure):
    """Then no body is read, and rules that were to see it do not match."""
    decision = put_together((waiting(finds=ALLOW), closed(ALLOW), sure, closed(ALLOW)))
    assert isinstance(decision, Decision)
    assert decision.effect == DENY
    assert decision.scopes[0].by == "default"


def test_a_scope_whose_default_denies_may_still_be_opened_by_the_body():
    """It is no sure denial."""
    undecided = put_together((waiting(without=DENY, finds=ALLOW), *(closed(ALLOW),) * 3))
    assert isinstance(undecided, Undecided)
    assert undecided.judge(NO_BODY).effect == ALLOW


def test_where_only_shadows_wait_the_head_has_decided():
    """The body would only tell which of them match."""
    undecided = put_together((waiting(enforced=False), *(closed(ALLOW),) * 3))
    assert isinstance(undecided, Undecided)
    assert not undecided.enforced
    assert undecided.without_body().effect == ALLOW


def test_body_and_watch_reach_the_scopes():
    """As they were given; what the watch raises comes out."""
    seen = []

    def finish(body: Body, watch: object) -> ScopeOutcome:
        seen.append((body, watch))
        return closed(ALLOW)

    open_ = OpenScope(denies=False, enforced=True, without=closed(ALLOW), finish=finish)
    undecided = put_together((open_, *(closed(ALLOW),) * 3))
    assert isinstance(undecided, Undecided)
    body, watch = Body(b"1"), lambda: None
    undecided.judge(body, watch)
    assert seen == [(body, watch)]
