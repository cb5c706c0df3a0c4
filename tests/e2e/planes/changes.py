"""The planes together: tenants of the shared installation, and the time within which a change must be in force.

The time of a change runs from the moment the API answered `exeat-propagation: applied` until every worker of the
edge has shown it. It may be `IN_FORCE` seconds; a machine of two cores that runs other tests beside this one may
stop the process that measures for a while, which `NOISE` makes up for. Nothing is measured twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sdk import Change, ExeatClient
from tests.kit.governed import Governed, Workers
from tests.kit.planes import RunningHome
from tests.kit.raw import RawAnswer, RawClient, get

HERE, THERE = "us-east-1", "eu-west-1"
IN_FORCE, NOISE = 1.0, 1.0


def call(
    governed: Governed, *, key: str | None = None, port: int | None = None, path: str = "/x"
) -> RawAnswer:
    with RawClient(port or governed.port) as client:
        client.send(ask(governed, key=key, path=path))
        return client.answer()


def ask(governed: Governed, *, key: str | None = None, path: str = "/x") -> bytes:
    return get(governed.path + path, key=key or governed.key)


def code(answer: RawAnswer) -> str | None:
    return answer.get("exeat-proxy-code")


def shows(status: int, named: str) -> Callable[[RawAnswer], bool]:
    return lambda answer: (answer.status, code(answer)) == (status, named)


class Enforced:
    """Writes, and holds every worker to the time in which the write must be in force."""

    def __init__(self, home: RunningHome, workers: Workers) -> None:
        self._home, self._workers = home, workers

    def after(
        self,
        write: Callable[[ExeatClient], Any],
        request: bytes,
        expected: Callable[[RawAnswer], object],
    ) -> Any:
        """The write's answer, once all workers show it; fails when that took too long."""
        made = self._home.do(write)
        answered = time.monotonic()
        change = made if isinstance(made, Change) else made.change
        assert change.propagation == "applied"
        took = self._workers.since(answered, request, expected)
        assert took <= IN_FORCE + NOISE, f"in force after {took:.3f} s"
        return made
