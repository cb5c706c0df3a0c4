"""What must be there before the first caller: the owner with a token, and the regions with their keys.

Everything here may be asked for at every start, and by several processes at once; it is done once. The owner's
token is in its file and nowhere else.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from pathlib import Path
from typing import Final

from control_api import files
from control_api.ledger.change import Body, Draft, Item
from control_api.ledger.ledger import Decide, Ledger
from control_api.ledger.projection import Projection, Resource
from control_api.routes.table import SCOPES
from models.errors import ConfigurationError
from models.ids import new_id
from models.secret import Secret

SYSTEM: Final = "system"
"""The actor of what no user did."""
OWNER: Final = "owner"
"""Name of the first user and of the token of the first start."""
_PREFIX: Final = b"u-"


class _Done(Exception):
    """There is nothing to write."""


def digest_of(token: Secret) -> str:
    """What the control plane keeps of a token or region key: its SHA-256 in hex."""
    return sha256(token.reveal()).hexdigest()


def new_token() -> Secret:
    """A user's token with 256 random bits."""
    return Secret("u-" + secrets.token_urlsafe(32))


async def ensure_owner(ledger: Ledger, token_file: Path) -> Secret | None:
    """Makes the operator user at the first start; answers the token then, None at every later start.

    The file is written before the user is, and read when it is there, so that a start that was cut short goes
    on with the same token. Raises ConfigurationError for a file that holds no token, Unavailable.
    """
    if _owner(ledger.projection) is not None:
        return None
    files.write_new(token_file, new_token().reveal() + b"\n")
    token = _token_in(token_file)
    user_id, token_id = new_id("user"), new_id("token")

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        if _owner(projection) is not None:
            raise _Done
        user = Item("user", user_id, after={"userName": "owner", "operator": True})
        return Draft(action="create", client_id=None, items=(user, _token_item(token_id, user_id, token)))

    return token if await _written(ledger, decide) else None


async def reset_owner(ledger: Ledger, token_file: Path) -> Secret:
    """Gives the owner a new token in `token_file`; the ones made here before end. Raises Unavailable."""
    made = await ensure_owner(ledger, token_file)
    if made is not None:
        return made
    token, token_id = new_token(), new_id("token")

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        owner = _owner(projection)
        if owner is None:
            raise ConfigurationError("the owner is gone")
        gone = tuple(
            Item("token", one.id, parent=one.parent)
            for one in projection.list("token", parent=("user", owner.id))
            if one.body["tokenName"] == OWNER
        )
        return Draft(action="reset", client_id=None, items=(*gone, _token_item(token_id, owner.id, token)))

    # In the log first: a file with a token that nothing knows would look like a working one.
    await ledger.write(decide, actor=SYSTEM)
    files.replace(token_file, token.reveal() + b"\n")
    return token


async def ensure_region(
    ledger: Ledger, region: str, base_url: str, region_key: Secret, vault_public: bytes
) -> bool:
    """Enrols a region, or notes what changed of it; whether there was anything to do. Raises Unavailable.

    base_url: where its edges are reached. vault_public: 32 raw bytes of the vault's Ed25519 identity.
    """
    body: Body = {
        "endpointRegion": region,
        "endpointKind": "shared",
        "endpointBaseURL": base_url,
        "regionKeyDigest": digest_of(region_key),
        "vaultIdentity": vault_public.hex(),
    }

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        known = projection.get("region", region)
        if known is not None and known.body == body:
            raise _Done
        action = "enrol" if known is None else "update"
        return Draft(action=action, client_id=None, items=(Item("region", region, after=body),))

    return await _written(ledger, decide)


async def _written(ledger: Ledger, decide: Decide) -> bool:
    try:
        await ledger.write(decide, actor=SYSTEM)
    except _Done:
        return False
    return True


def _owner(projection: Projection) -> Resource | None:
    """The first operator."""
    return next((one for one in projection.list("user") if one.body.get("operator") is True), None)


def _token_item(token_id: str, user_id: str, token: Secret) -> Item:
    body = {
        "tokenName": OWNER,
        "tokenScopes": list(SCOPES),
        "tokenDigest": digest_of(token),
        "userId": user_id,
    }
    return Item("token", token_id, parent=("user", user_id), after=body)


def _token_in(path: Path) -> Secret:
    token = files.read_secret(path)
    if token is None or not token.reveal().startswith(_PREFIX) or len(token) < 32:
        raise ConfigurationError("does not hold a token", file=str(path))
    return token
