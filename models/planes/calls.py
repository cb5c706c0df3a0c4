"""Arguments and answers of actor calls, each one msgpack value: small, explicit, without pickled classes of ours.

Actors: `PolicyRegistry.listen(ListenRequest) -> ListenAnswer`, `.command_done(CommandResult)`;
`CredentialVault.obey(Orders) -> Obeyed`, `.grant(Signed capability) -> Signed Grants`; both `ready() -> Ready`.
"""

from __future__ import annotations

import msgspec

from models.custody.signing import Signed
from models.planes.state import Delta


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """protocol: the PROTOCOL of the code the actor runs. pid: of its process. detail: for the operator."""

    role: str
    region: str
    protocol: int
    pid: int
    detail: str = ""


class Orders(msgspec.Struct, frozen=True):
    """Signed orders in the order of their revisions."""

    orders: tuple[Signed, ...]


class Obeyed(msgspec.Struct, frozen=True):
    """All orders are durable. failing: those that could not be, by credential id, and why. sheet: the newest."""

    sheet: Signed
    certificate: Signed
    failing: dict[str, str] = {}


class ListenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A link's one outstanding question. revision, sheet, issued_ms: what it has, -1 and 0 for nothing.

    workers: (index, applied revision) of each attached worker. expected: how many the edge has, 0 when unknown.
    """

    link: str
    edge: str
    revision: int
    sheet: int
    issued_ms: int
    workers: tuple[tuple[int, int], ...] = ()
    expected: int = 0


class ListenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is new for that link; all None or empty when the poll expired. commands: for one of its workers."""

    delta: Delta | None = None
    sheet: Signed | None = None
    manifest: Signed | None = None
    commands: tuple[Signed, ...] = ()
