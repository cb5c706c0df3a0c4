"""Region state: nothing can be left out, added, altered, reordered, moved or taken back unnoticed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.custody.signing import Signed, Signer, Verifier
from models.errors import SignatureRefused, StateRefused
from models.planes.state import MANIFEST, Delta, Document, Manifest, RegionState, read_manifest, root
from models.secret import Secret

CONTROL = Signer(Secret(bytes(range(32))))
PINNED = Verifier(CONTROL.public)
REGION = "us"

DOCUMENTS = st.lists(
    st.builds(
        Document,
        kind=st.sampled_from(["credential", "target", "proxy"]),
        id=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=8),
        revision=st.integers(0, 2**40),
        text=st.binary(max_size=20),
    ),
    unique_by=lambda one: (one.kind, one.id),
    max_size=6,
)


def manifest(documents: Any, revision: int = 5, issued_ms: int = 1, **fields: Any) -> Signed:
    found = Manifest(fields.get("region", REGION), revision, root(documents), issued_ms)
    return fields.get("signer", CONTROL).sign(fields.get("purpose", MANIFEST), msgspec.json.encode(found))


def state(*documents: Document, revision: int = 5) -> RegionState:
    """A region at that revision."""
    return RegionState.empty(REGION).apply(Delta(0, documents, (), manifest(documents, revision)), PINNED)


def document(identity: str, revision: int = 5, text: bytes = b"{}", kind: str = "target") -> Document:
    return Document(kind, identity, revision, text)


A, B, C = document("a"), document("b"), document("c")


@given(documents=DOCUMENTS)
def test_a_full_delta_gives_the_state(documents: list[Document]) -> None:
    """In whatever order it lists the documents, and back again."""
    found = state(*documents)
    assert sorted(found.documents.values(), key=repr) == sorted(documents, key=repr)
    assert (found.revision, found.issued_ms) == (5, 1)
    again = RegionState.empty(REGION).apply(found.full(), PINNED)
    assert dict(again.documents) == dict(found.documents)
    assert root(documents) == root(reversed(documents))


@given(documents=DOCUMENTS, data=st.data())
def test_any_other_set_of_documents_is_refused(documents: list[Document], data: st.DataObject) -> None:
    """One removed, added, altered in any field, or texts exchanged: not what was signed."""
    signed = manifest(documents)
    wrong = list(documents)
    ways = ["add", *(["remove", "alter", "exchange"] if documents else [])]
    way = data.draw(st.sampled_from(ways))
    index = data.draw(st.integers(0, max(len(documents) - 1, 0)))
    if way == "add":
        wrong.append(document("added-" + "x" * 9))
    elif way == "remove":
        del wrong[index]
    elif way == "alter":
        field = data.draw(st.sampled_from(["kind", "id", "revision", "text"]))
        changed = {"kind": "rule", "id": "other-xxxxx", "revision": 2**41, "text": wrong[index].text + b"x"}
        wrong[index] = msgspec.structs.replace(wrong[index], **{field: changed[field]})
    else:
        first, second = wrong[0], wrong[index]
        if (first.text, first.revision) == (second.text, second.revision):
            return
        wrong[0] = Document(first.kind, first.id, second.revision, second.text)
        wrong[index] = Document(second.kind, second.id, first.revision, first.text)
    before = state(A)
    with pytest.raises(StateRefused):
        before.apply(Delta(0, tuple(wrong), (), signed), PINNED)
    assert (before.revision, list(before.documents.values())) == (5, [A])


@given(data=st.data())
def test_any_altered_byte_of_a_manifest_is_refused(data: st.DataObject) -> None:
    """Of its text or its signature."""
    signed = manifest([A])
    for part in ("statement", "signature"):
        altered = bytearray(getattr(signed, part))
        altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
        with pytest.raises(SignatureRefused):
            read_manifest(msgspec.structs.replace(signed, **{part: bytes(altered)}), PINNED, REGION)


def test_a_delta_changes_what_it_names() -> None:
    """The rest stays; the old state stays as it was."""
    before = state(A, B)
    newer = document("b", 6, b"[]")
    after = before.apply(Delta(5, (newer, C), (("target", "a"),), manifest([newer, C], 6)), PINNED)
    assert dict(after.documents) == {("target", "b"): newer, ("target", "c"): C}
    assert set(before.documents) == {("target", "a"), ("target", "b")}


def test_deleting_what_is_not_there_is_nothing() -> None:
    """The root decides."""
    after = state(A).apply(Delta(5, (), (("proxy", "a"),), manifest([A], 6)), PINNED)
    assert (after.revision, dict(after.documents)) == (6, {("target", "a"): A})


@pytest.mark.parametrize("base", [4, 6, -1])
def test_a_delta_from_elsewhere_is_refused(base: int) -> None:
    """It starts at this state or at nothing."""
    with pytest.raises(StateRefused, match="starts at"):
        state(A).apply(Delta(base, (), (), manifest([A], 7)), PINNED)


@given(behind=st.integers(1, 5))
def test_an_older_revision_is_refused(behind: int) -> None:
    """However good its signature; the same one again changes nothing."""
    now = state(A, revision=5)
    for base in (0, 5):
        with pytest.raises(StateRefused, match="older"):
            now.apply(Delta(base, (A,), (), manifest([A], 5 - behind)), PINNED)
    assert now.apply(now.full(), PINNED).documents == now.documents


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"region": "eu"}, StateRefused),
        ({"signer": Signer(Secret(b"x" * 32))}, SignatureRefused),
        ({"purpose": "sheet"}, SignatureRefused),
    ],
    ids=["region", "signer", "purpose"],
)
def test_a_manifest_of_somebody_else_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    """Of another region, another key, another purpose: on apply and on refresh."""
    now = state(A)
    for wrong in (manifest([A], 6, **fields), manifest([A], 5, 9, **fields)):
        with pytest.raises(error):
            now.apply(Delta(0, (A,), (), wrong), PINNED)
        with pytest.raises(error):
            now.refresh(wrong, PINNED)


def test_a_later_issue_makes_a_state_younger() -> None:
    """An earlier one changes nothing; one of another state is refused."""
    now = state(A)
    later = now.refresh(manifest([A], 5, 9), PINNED)
    assert (later.issued_ms, later.documents) == (9, now.documents)
    assert later.refresh(manifest([A], 5, 8), PINNED) is later
    for other in (manifest([A, B], 5, 10), manifest([A], 6, 10), manifest([A], 4, 10)):
        with pytest.raises(StateRefused, match="another state"):
            later.refresh(other, PINNED)


def test_before_the_first_manifest_there_is_nothing() -> None:
    """Revision -1; nothing to hand on or to refresh. A region without documents is at 0 and has one."""
    nothing = RegionState.empty(REGION)
    assert (nothing.revision, nothing.issued_ms, dict(nothing.documents)) == (-1, 0, {})
    with pytest.raises(StateRefused):
        nothing.full()
    with pytest.raises(StateRefused):
        nothing.refresh(manifest([], 0), PINNED)
    assert nothing.apply(Delta(0, (), (), manifest([], 0)), PINNED).revision == 0
