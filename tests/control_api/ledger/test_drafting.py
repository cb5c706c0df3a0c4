"""What follows from a draft by itself: true befores, rules that go along, regions, orders that end a credential."""

from __future__ import annotations

import pytest

from control_api.ledger.change import SCHEMA, Change, Draft, Item, from_document, to_document
from control_api.ledger.drafting import complete
from control_api.ledger.projection import Projection
from models.custody.orders import Forget, Revoke, read_order, sign_order
from models.errors import SchemaTooNew
from tests.kit.plane import CLIENT, SIGNER, VERIFIER, credential, filter_, gone, rule, target


def drafted(projection: Projection, draft: Draft) -> Change:
    """The change, applied."""
    change = complete(draft, projection, SIGNER, change_id="x", at_ms=1, actor="usr_1")
    projection.apply(change)
    return change


def made(projection: Projection, *items: Item) -> Change:
    """A change of these items."""
    return drafted(projection, Draft(action="update", client_id=CLIENT, items=items))


def orders(change: Change) -> dict[str, list[object]]:
    """The orders of a change, verified."""
    return {region: [read_order(one, VERIFIER) for one in signed] for region, signed in change.orders.items()}


def test_before_is_what_was_there() -> None:
    """Whatever the draft claims, the audit list shows what the resource was."""
    projection = Projection()
    first = target("tgt_a", targetTimeoutMs=1)
    made(projection, first)
    claimed = Item("target", "tgt_a", CLIENT, before={"targetName": "another"}, after=target("tgt_a").after)
    assert made(projection, claimed).items[0].before == first.after
    assert made(projection, target("tgt_b")).items[0].before is None


def test_rules_go_with_what_they_stand_on() -> None:
    """Deleting a target deletes its rules in the same change; one that is named already is not named twice."""
    projection = Projection()
    first = rule("rule_1", ("target", "tgt_a"))
    made(projection, target("tgt_a"), target("tgt_b"))
    made(projection, first, rule("rule_2", ("target", "tgt_a")), rule("rule_3", ("target", "tgt_b")))
    change = made(projection, gone(first), gone(target("tgt_a")))
    assert [item.id for item in change.items] == ["rule_1", "tgt_a", "rule_2"]
    assert [one.id for one in projection.list("rule")] == ["rule_3"]


def test_filters_go_with_what_they_stand_on() -> None:
    """As rules do; and a change of one is a change of its parent's region."""
    projection = Projection()
    made(projection, target("tgt_a", "eu"), rule("rule_1", ("target", "tgt_a")))
    one = filter_("flt_1", ("target", "tgt_a"))
    assert made(projection, one).regions == ("eu",)
    change = made(projection, gone(target("tgt_a", "eu")))
    assert [item.id for item in change.items] == ["tgt_a", "rule_1", "flt_1"]
    assert [item.after for item in change.items] == [None, None, None]
    assert projection.list("filter") == []


def test_regions_come_from_the_items() -> None:
    """A rule's is that of its parent, before and after count, what has no region touches none."""
    projection = Projection()
    change = made(projection, target("tgt_a", "eu"), rule("rule_1", ("target", "tgt_a")))
    assert change.regions == ("eu",)
    assert made(projection, gone(rule("rule_1", ("target", "tgt_a")))).regions == ("eu",)
    assert made(projection, gone(target("tgt_a", "eu")), target("tgt_b")).regions == ("eu", "us")
    assert made(projection, Item("user", "usr_1", after={"userName": "Ann"})).regions == ()
    draft = Draft(action="update", client_id=CLIENT, items=(), extra_regions=("us",))
    assert drafted(projection, draft).regions == ("us",)
    assert [projection.region_revision(region) for region in ("eu", "us", "ap")] == [3, 5, 0]


def test_a_credential_that_ends_is_ended_in_the_vault() -> None:
    """Revocation gives one Revoke, deletion a Forget with the version; an update after revocation gives none."""
    projection = Projection()
    assert orders(made(projection, credential("cred_a", credentialVersion=3))) == {}
    revoked = credential("cred_a", credentialVersion=3, credentialStatus="revoked")
    assert orders(made(projection, revoked)) == {"us": [Revoke("us", "cred_a")]}
    assert orders(made(projection, revoked)) == {}
    assert orders(made(projection, gone(revoked))) == {"us": [Forget("us", "cred_a", 3)]}


def test_an_order_is_not_given_twice() -> None:
    """A handler that gives the order itself changes nothing."""
    projection = Projection()
    made(projection, credential("cred_a"))
    order = sign_order(Revoke("us", "cred_a"), SIGNER)
    items = (credential("cred_a", credentialStatus="revoked"),)
    draft = Draft(action="revoke", client_id=CLIENT, items=items, orders={"us": (order,)})
    assert drafted(projection, draft).orders == {"us": (order,)}


def test_an_unknown_kind_is_refused() -> None:
    """A kind that the projection would not know how to find again never gets into the log."""
    with pytest.raises(ValueError, match="no kind"):
        made(Projection(), Item("planet", "p", after={}))


def test_a_change_is_read_back_as_it_was() -> None:
    """Through plain JSON values; one of a newer schema is refused."""
    projection = Projection()
    made(projection, credential("cred_a"))
    change = made(projection, gone(credential("cred_a")))
    document = to_document(change)
    assert from_document(document) == change
    assert document["holdsOrders"] == 1
    assert "holdsReplay" not in document
    with pytest.raises(SchemaTooNew):
        from_document({**document, "schema": SCHEMA + 1})
