"""A region's documents and deltas, without log or store."""

from __future__ import annotations

import orjson
import pytest

from control_api.feed.view import JOURNAL, RegionView, document_of
from control_api.ledger.change import Draft, Item
from control_api.ledger.drafting import complete
from control_api.ledger.projection import Projection
from models.planes.documents import Unreadable, read_document
from models.planes.state import root
from tests.kit.plane import CLIENT, SIGNER, credential, filter_, gone, rule, target


def made(projection: Projection, view: RegionView, *items: Item) -> int:
    """A change, applied and noted; its revision."""
    draft = Draft(action="update", client_id=CLIENT, items=items)
    change = complete(draft, projection, SIGNER, change_id="x", at_ms=1, actor="usr_1")
    projection.apply(change)
    view.note(change.revision, [item.parent or item.key for item in items])
    return change.revision


def test_a_rule_moves_its_parents_document_only() -> None:
    """The document has the revision of the last change to it or its rules; the resource keeps its own."""
    projection, view = Projection(), RegionView("us", 0)
    made(projection, view, target("tgt_a"), target("tgt_b"))
    first = made(projection, view, rule("rule_1", ("target", "tgt_a")))
    second = made(projection, view, gone(rule("rule_1", ("target", "tgt_a"))))
    step = view.step(first, projection)
    assert step is not None
    assert [(one.id, one.revision) for one in step.upserts] == [("tgt_a", second)]
    assert step.deletes == ()
    resource = projection.get("target", "tgt_a")
    assert resource is not None
    assert (resource.revision, resource.touched) == (1, second)


def test_a_filter_rides_in_its_parents_document() -> None:
    """Beside the rules, with its id; a parent without filters has none of it in its document."""
    projection, view = Projection(), RegionView("us", 0)
    bare = made(projection, view, target("tgt_a"))
    step = view.step(-1, projection)
    assert step is not None
    assert "filters" not in orjson.loads(step.upserts[0].text)
    made(projection, view, filter_("flt_1", ("target", "tgt_a"), "$.a"))
    step = view.step(bare, projection)
    assert step is not None
    [document] = step.upserts
    assert orjson.loads(document.text)["filters"] == [
        {"action": "destroy", "paths": ["$.a"], "statuses": ["all"], "filterId": "flt_1"}
    ]


def test_from_too_far_back_everything_is_sent() -> None:
    """The journal is bounded; a delta starts no further back than it reaches."""
    projection, view = Projection(), RegionView("us", 0)
    for number in range(JOURNAL + 2):
        made(projection, view, target("tgt_a", targetTimeoutMs=number + 1))
    early, late = view.step(1, projection), view.step(2, projection)
    assert early is not None
    assert late is not None
    assert (early.base, late.base) == (0, 2)
    assert early.upserts == late.upserts
    assert view.step(JOURNAL + 2, projection) is None


@pytest.mark.parametrize("after", [-1, 0, 99])
def test_from_nothing_or_nowhere_everything_is_sent(after: int) -> None:
    """With no deletions, because there is nothing they could be of."""
    projection, view = Projection(), RegionView("us", 0)
    made(projection, view, target("tgt_a"), target("tgt_b"))
    made(projection, view, gone(target("tgt_b")))
    step = view.step(after, projection)
    assert step is not None
    assert (step.base, [one.id for one in step.upserts], step.deletes) == (0, ["tgt_a"], ())
    assert view.root(projection) == root(step.upserts)


def test_a_resource_that_cannot_be_written_breaks_itself_only() -> None:
    """What is no JSON, or would hold a secret, is sent as something no edge can read."""
    projection, view = Projection(), RegionView("us", 0)
    made(projection, view, credential("cred_a", credentialSecret={"token": "canary"}), target("tgt_a"))
    resource = projection.get("credential", "cred_a")
    assert resource is not None
    document = document_of(resource, projection)
    assert b"canary" not in document.text
    assert isinstance(read_document(document, "us"), Unreadable)
    step = view.step(0, projection)
    assert step is not None
    assert len(step.upserts) == 2
