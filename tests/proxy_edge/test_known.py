"""What a worker believes: only what is signed by whom it must be, and nothing that goes back, in any order of arrival."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.custody.sheet import SHEET, Sheet
from models.custody.signing import Signed, Signer, Verifier
from models.errors import CustodyError, SignatureRefused, StateRefused
from models.planes.state import MANIFEST, Delta, Document, Manifest, RegionState, root
from models.secret import Secret
from proxy_edge.known import AHEAD_MS, Known, Trusted, revoked_in, with_revocations

REGION = "us-east-1"
CONTROL, VAULT, STRANGER = (Signer(Secret(bytes([one]) * 32)) for one in (1, 2, 3))
TRUSTED = Trusted(REGION, Verifier(CONTROL.public), Verifier(VAULT.public))
NOW = 1_800_000_000_000


def credential(name: str, revision: int = 1, status: str = "active") -> Document:
    body = {"credentialId": name, "credentialStatus": status}
    return Document("credential", name, revision, orjson.dumps(body))


def manifest(documents: tuple[Document, ...], revision: int, **fields: Any) -> Signed:
    signer = fields.pop("signer", CONTROL)
    values = {"region": REGION, "revision": revision, "root": root(documents), "issued_ms": NOW, **fields}
    return signer.sign(MANIFEST, msgspec.json.encode(Manifest(**values)))


def full(*documents: Document, revision: int = 1, **fields: Any) -> Delta:
    return Delta(0, documents, (), manifest(documents, revision, **fields))


def sheet(number: int, *revoked: str, signer: Signer = VAULT, region: str = REGION) -> Signed:
    return signer.sign(SHEET, msgspec.msgpack.encode(Sheet(region, number, "p", (), revoked)))


def known(revision: int = 5, number: int = 5) -> Known:
    nothing = Known.nothing(REGION)
    return nothing.with_delta(full(revision=revision), TRUSTED, NOW).with_sheet(sheet(number), TRUSTED)


@pytest.mark.parametrize(
    "delta",
    [
        full(revision=4),
        full(revision=6, signer=STRANGER),
        full(revision=6, signer=VAULT),
        full(revision=6, region="eu-west-1"),
        full(revision=6, issued_ms=NOW + AHEAD_MS + 1),
        full(revision=5, issued_ms=NOW - 1),
        Delta(3, (), (), manifest((), 6)),
        Delta(0, (credential("smuggled"),), (), manifest((), 6)),
        Delta(0, (), (), manifest((credential("left out"),), 6)),
    ],
    ids=["older", "stranger", "vault", "region", "future", "same revision, earlier", "base", "more", "less"],
)
def test_documents_that_must_not_be_believed(delta: Delta) -> None:
    """Another signer, region or base, an older revision, a time far ahead, one document more or less: nothing changes."""
    before = known()
    with pytest.raises(CustodyError):
        before.with_delta(delta, TRUSTED, NOW)
    assert before.state.revision == 5


@pytest.mark.parametrize(
    ("signed", "error"),
    [
        (sheet(4), StateRefused),
        (sheet(6, signer=STRANGER), SignatureRefused),
        (sheet(6, signer=CONTROL), SignatureRefused),
        (sheet(6, region="eu-west-1"), StateRefused),
        (Signed(sheet(6).statement, sheet(7).signature), SignatureRefused),
    ],
)
def test_sheets_that_must_not_be_believed(signed: Signed, error: type[CustodyError]) -> None:
    """An older number, another signer or region."""
    with pytest.raises(error):
        known().with_sheet(signed, TRUSTED)


def test_sheet_it_has_changes_nothing() -> None:
    """The same number again is the same sheet."""
    before = known()
    assert before.with_sheet(sheet(5), TRUSTED) is before


def test_manifest_vouches_anew_for_what_is_known_only() -> None:
    """A later issue counts, an earlier one does not, one of another state is refused."""
    before = known()
    later = before.with_manifest(manifest((), 5, issued_ms=NOW + 10), TRUSTED, NOW + 50)
    assert (later.state.issued_ms, later.age_ms(NOW + 50)) == (NOW + 10, 40)
    assert later.with_manifest(manifest((), 5, issued_ms=NOW), TRUSTED, NOW) is later
    for other in (manifest((), 6), manifest((credential("x"),), 5, issued_ms=NOW + 20)):
        with pytest.raises(StateRefused):
            later.with_manifest(other, TRUSTED, NOW + 50)


def test_issue_slightly_ahead_of_our_clock_counts_as_now() -> None:
    """Clocks differ: up to a minute is age 0, more is refused."""
    before = known()
    ahead = before.with_manifest(manifest((), 5, issued_ms=NOW + AHEAD_MS), TRUSTED, NOW)
    assert ahead.age_ms(NOW) == 0
    with pytest.raises(StateRefused):
        before.with_manifest(manifest((), 5, issued_ms=NOW + AHEAD_MS + 1), TRUSTED, NOW)


def test_revoked_is_what_any_of_them_says() -> None:
    """The sheet, a document, a snapshot: whoever said so first; a text that cannot be read says nothing."""
    documents = (credential("one", status="revoked"), credential("two"))
    found = Known.nothing(REGION).with_delta(full(*documents), TRUSTED, NOW).with_revoked({"three"})
    found = found.with_sheet(sheet(1, "four"), TRUSTED)
    assert found.revoked == {"one", "three", "four"}
    assert set(with_revocations(Sheet(REGION, 1, "p", (), ("five",)), found.revoked).revoked) == {
        *found.revoked,
        "five",
    }
    strange = [Document("credential", "x", 1, b'{"revoked"'), Document("target", "y", 1, b'"revoked"')]
    assert revoked_in(strange) == frozenset()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("state"), st.integers(0, 6), st.sets(st.sampled_from("abc"))),
        st.tuples(st.just("sheet"), st.integers(0, 6), st.sets(st.sampled_from("abc"))),
    ),
    max_size=12,
)


@given(steps)
def test_nothing_ever_goes_back(heard: list[tuple[str, int, set[str]]]) -> None:
    """Whatever arrives in whatever order, all of it rightly signed: revision, sheet number and revocations only grow."""
    found = Known.nothing(REGION)
    for what, number, names in heard:
        before = found
        try:
            if what == "state":
                documents = tuple(
                    credential(one, number, "revoked" if one in names else "active") for one in "abc"
                )
                found = found.with_delta(full(*documents, revision=number), TRUSTED, NOW)
            else:
                found = found.with_sheet(sheet(number, *sorted(names)), TRUSTED)
        except StateRefused:
            assert number < (before.state.revision if what == "state" else before.sheet_number)
        assert found.state.revision >= before.state.revision
        assert found.sheet_number >= before.sheet_number
        assert found.revoked >= before.revoked


def test_policy_depends_on_what_it_is_made_of() -> None:
    """A later issue of the same makes no new policy; documents, sheet and revocations do."""
    before = known()
    later = before.with_manifest(manifest((), 5, issued_ms=NOW + 1), TRUSTED, NOW)
    assert later.policy() == before.policy()
    for other in (
        before.with_delta(full(revision=6), TRUSTED, NOW),
        before.with_sheet(sheet(6), TRUSTED),
        before.with_revoked({"x"}),
        before.with_state(RegionState.empty(REGION)),
    ):
        assert other.policy() != before.policy()
    assert before.with_sheet_of(known(number=7)).sheet_number == 7
