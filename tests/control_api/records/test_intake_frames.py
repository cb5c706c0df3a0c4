"""Frames between the control plane and its intake process come back as they were sent."""

from __future__ import annotations

import asyncio
import socket

import pytest

from control_api.records.intake_frames import (
    Away,
    Done,
    Known,
    Open,
    Take,
    Who,
    Wrong,
    from_control,
    from_intake,
    receive,
    send,
)
from tests.kit.recorded import US, batch, record

ASKED = (Open("/a/place"), Take(US, (batch(1, [record("req_1")]),)), Known({"prx_one": ("cli_one", US)}))
ANSWERED = (
    Who(("prx_one",)),
    Done(),
    Wrong("cannot be read", (("records[0]", "is none"),)),
    Away("it is away"),
)


async def test_frames_come_back_as_they_were_sent() -> None:
    """In order, in both directions; and the end is an end."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    far_reader, far_writer = await asyncio.open_unix_connection(sock=ours)
    for asked in ASKED:
        await send(writer, asked)
    for answered in ANSWERED:
        await send(far_writer, answered)
    assert tuple([from_control.decode(await receive(far_reader)) for _ in ASKED]) == ASKED
    assert tuple([from_intake.decode(await receive(reader)) for _ in ANSWERED]) == ANSWERED
    writer.close()
    with pytest.raises(asyncio.IncompleteReadError):
        await receive(far_reader)
    far_writer.close()
    await writer.wait_closed()
    await far_writer.wait_closed()
