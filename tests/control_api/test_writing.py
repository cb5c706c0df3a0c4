"""What all writes share, on a real plane: what is shown of a write, and what a write remembers."""

from __future__ import annotations

import hashlib

import msgspec

from control_api.answers import envelope
from control_api.call import Call, Caller
from control_api.ledger.change import Replay, Written
from control_api.presentation import audited, credential_status
from control_api.routes.table import ROUTES
from control_api.writing import made
from models.secret import Secret
from tests.kit.api import Api, target_body


async def test_a_write_shows_itself_not_what_came_after(core: Api) -> None:
    """Built from the change when the resource has moved on or is gone."""
    target = await core.make("{c}/targets", target_body(targetName="First"))
    key = ("target", target["targetId"])
    change = await core.plane.ledger.change(target["revision"])
    assert change is not None
    written = Written(revision=change.revision, change=change, regions=change.regions)
    await core.patch(f"{{c}}/targets/{key[1]}", {"targetName": "Second"})
    shown = made(written, key, core.projection)
    assert (shown.body["targetName"], shown.revision) == ("First", target["revision"])
    await core.delete(f"{{c}}/targets/{key[1]}")
    assert made(written, key, core.projection).body["targetName"] == "First"
    replayed = msgspec.structs.replace(
        written,
        replayed=True,
        change=msgspec.structs.replace(change, replay=Replay("t", "k", "d", 201, *key)),
    )
    assert made(replayed, ("target", "another-id"), core.projection).id == key[1]


def test_what_is_remembered_of_a_request_cannot_be_guessed_at() -> None:
    """Key and digest are keyed with the token; the digest differs by path and body; made for POST with a key only."""
    post = next(route for route in ROUTES if route.name == "targets.create")
    put = next(route for route in ROUTES if route.name == "targets.replace")

    def remembered(
        token: str, body: bytes, path: str = "/a", key: str | None = "k", route: object = post
    ) -> Replay | None:
        caller = Caller("tok_a", "usr_a", frozenset(), Secret(token))
        call = Call(route, path, {}, {}, body, None, key, "req_1", None, caller)  # type: ignore[arg-type]  # asks no service
        return call.replay(201, "target", "tgt_a")

    first = remembered("u-one", b"{}")
    assert first == remembered("u-one", b"{}")
    assert first is not None
    others = [remembered("u-two", b"{}"), remembered("u-one", b"{ }"), remembered("u-one", b"{}", "/b")]
    assert len({first.digest, *(other.digest for other in others if other is not None)}) == 4
    assert len({first.key, *(other.key for other in others if other is not None)}) == 2
    assert first.key not in {"k", hashlib.sha256(b"k").hexdigest()}
    assert remembered("u-one", b"{}", key=None) is None
    assert remembered("u-one", b"{}", route=put) is None


def test_the_envelope_is_that_of_the_contract() -> None:
    """The plural, the message, and a cursor only when the list goes on."""
    assert envelope("proxies", []) == {"proxies": [], "message": "Success"}
    assert envelope("proxies", [], "x")["nextCursor"] == "x"


def test_the_audit_list_withholds_digests() -> None:
    """Of tokens and regions."""
    assert audited({"tokenName": "a", "tokenDigest": "b", "regionKeyDigest": "c"}) == {"tokenName": "a"}
    assert audited(None) is None
    assert credential_status.__doc__
