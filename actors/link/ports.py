"""What the link needs of the actors behind it, as one small interface; `actors.link.attach` speaks it over Ray."""

from __future__ import annotations

from typing import Protocol


class Actors(Protocol):
    """The actors of one region. Arguments and answers are msgpack of `models.planes.calls`; the link looks into
    those of the registry only.

    Every method raises PeerUnavailable when the actor is away or does not answer in time, and CustodyError when
    it does not believe what it was handed.
    """

    async def listen(self, payload: bytes) -> bytes:
        """`PolicyRegistry.listen(ListenRequest) -> ListenAnswer`: answers when something is new, or at its expiry."""
        ...

    async def report(self, payload: bytes) -> None:
        """`PolicyRegistry.report(ListenRequest)`: what the workers enforce, without a question."""
        ...

    async def grant(self, payload: bytes) -> bytes:
        """`CredentialVault.grant(Signed capability) -> Signed Grants`."""
        ...

    async def ask(self, role: str, method: str, payload: bytes, *, shard: int = 0, seconds: float) -> bytes:
        """The answer of `method` of the actor of `role` (as in `actors.names`) and number. Besides: Refused."""
        ...

    async def command_done(self, payload: bytes) -> None:
        """`PolicyRegistry.command_done(CommandResult)`."""
        ...
