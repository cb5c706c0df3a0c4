"""Four scopes' outcomes put together: a decision, or what is left to decide once the body of the request is known.

One scope that denies whatever the body is decides at once, and no body is read for it. Nothing here knows a
rule; an undecided request must never be taken for an allowed one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from models.body_checks import Body, Watch
from models.decision import Decision, Effect, ScopeOutcome

_REMEMBERED: Final = 1024


class OpenScope:
    """A scope whose head checks are done and that has rules with body checks left.

    denies: it denies whatever the body is. enforced: one of these rules is more than a shadow. without: the
    outcome when none of them matches. finish: the outcome by the body; raises JsonTooLarge for one that cannot be
    judged, and whatever the watch raises.
    """

    __slots__ = ("denies", "enforced", "finish", "without")

    def __init__(
        self,
        *,
        denies: bool,
        enforced: bool,
        without: ScopeOutcome,
        finish: Callable[[Body, Watch], ScopeOutcome],
    ) -> None:
        self.denies, self.enforced, self.without, self.finish = denies, enforced, without, finish


Outcome = ScopeOutcome | OpenScope
Four = tuple[ScopeOutcome, ScopeOutcome, ScopeOutcome, ScopeOutcome]


class Undecided:
    """Four scopes of which none denies and one at least needs the body. It says nothing about the request yet.

    enforced: the body can change the decision; else it only tells which shadow rules match.
    """

    __slots__ = ("_outcomes", "enforced")

    effect: Final = "undecided"

    def __init__(self, outcomes: tuple[Outcome, ...]) -> None:
        self._outcomes = outcomes
        self.enforced: Final = any(one.enforced for one in outcomes if isinstance(one, OpenScope))

    def judge(self, body: Body, watch: Watch = lambda: None) -> Decision:
        """The decision. Raises JsonTooLarge for a body that cannot be judged, and whatever `watch` raises."""
        return _decided(
            [one.finish(body, watch) if isinstance(one, OpenScope) else one for one in self._outcomes]
        )

    def without_body(self) -> Decision:
        """The decision when no rule with body checks matches; of use only where none of them is enforced."""
        return _decided([one.without if isinstance(one, OpenScope) else one for one in self._outcomes])


remembered: Final[dict[object, Decision]] = {}
"""Decisions by their outcomes: the same ones give the same object again. Look here before `put_together`."""


def put_together(outcomes: tuple[Outcome, Outcome, Outcome, Outcome]) -> Decision | Undecided:
    """What four scopes decide: all must allow."""
    left = [one for one in outcomes if isinstance(one, OpenScope)]
    if not left or any(
        one.denies if isinstance(one, OpenScope) else one.effect != "allow" for one in outcomes
    ):
        return _decided([one.without if isinstance(one, OpenScope) else one for one in outcomes])
    return Undecided(outcomes)


def _decided(outcomes: list[ScopeOutcome]) -> Decision:
    caller, sender, proxy, target = outcomes
    four: Four = (caller, sender, proxy, target)
    decision = remembered.get(four)
    if decision is None:
        effect: Effect = "allow" if all(one.effect == "allow" for one in four) else "deny"
        decision = Decision(effect, four)
        if len(remembered) >= _REMEMBERED:
            remembered.clear()
        remembered[four] = decision
    return decision
