"""The intake of records as a process of its own, so that a burst of them delays no policy write and no call.

It gives way to everything else on the machine, does what it is asked over the socket that it inherits, one thing at a
time, and ends when that does. It decides nothing but what `Intake` decides, and writes no log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from control_api.records.intake import Intake
from control_api.records.intake_frames import (
    Away,
    Done,
    FromIntake,
    Known,
    Open,
    Take,
    Who,
    Wrong,
    from_control,
    receive,
    send,
)
from control_api.records.layout import RECORDS_LAYOUT
from models.errors import ConfigurationError, Invalid, StoreError
from store.choose import open_store

STEPS_BACK: Final = 15
"""Of niceness: calls are served first, their records are taken over when there is time."""
STORE_SECONDS: Final = 60.0
"""For one call of the store, in a process that others go before."""


def stand_back(steps: int) -> None:
    """Leaves the processor to others first: this process, by so many steps of niceness.

    Where Linux groups processes by session (autogroup, sched(7)) the session's own niceness counts, too.
    """
    os.nice(steps)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(steps), encoding="ascii")


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers until the other end is gone."""
    first = from_control.decode(await receive(reader))
    if not isinstance(first, Open):
        return
    try:
        store = await open_store(first.place, RECORDS_LAYOUT, timeout=STORE_SECONDS)
    except (StoreError, ConfigurationError) as error:
        await send(writer, Away(error.detail))
        return

    async def owners(proxy_ids: Collection[str]) -> Mapping[str, tuple[str, str]]:
        await send(writer, Who(tuple(proxy_ids)))
        answer = from_control.decode(await receive(reader))
        return answer.owners if isinstance(answer, Known) else {}

    intake = Intake(store, owners)
    try:
        await send(writer, Done())
        while True:
            asked = from_control.decode(await receive(reader))
            if isinstance(asked, Take):
                await send(writer, await _outcome(intake, asked))
    finally:
        await store.close()


async def _outcome(intake: Intake, asked: Take) -> FromIntake:
    try:
        await intake.take(asked.region, asked.batches)
    except Invalid as error:
        return Wrong(error.detail, tuple(error.errors))
    except StoreError as error:
        return Away(error.detail)
    except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError):
        raise  # of the socket: nobody is there to answer
    except Exception as error:  # noqa: BLE001 - its text may quote a record
        return Away(f"taking records over failed with {type(error).__name__}")
    return Done()


async def _main(descriptor: int) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor))
    try:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
    finally:
        writer.close()


def main(descriptor: int) -> None:
    """Until the socket of this descriptor ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of the control plane is the end of the socket
    stand_back(STEPS_BACK)
    asyncio.run(_main(descriptor))


if __name__ == "__main__":
    main(int(sys.argv[1]))
