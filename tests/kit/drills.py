"""Kill drills: one part of an installation is killed while calls go on; when it is back, and what the calls came to.

A drill touches nothing but the process it kills: whatever comes back does so by itself. Processes are looked up in
this process, so that looking costs a machine that has to start the part again next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from scripts.up import status
from sdk import ApiUnreachable, Change, ExeatClient
from tests.kit.governed import Governed, Workers, govern
from tests.kit.load import Call, Load
from tests.kit.planes import RunningHome
from tests.kit.raw import get
from tests.kit.upstream import Answer, Seen, Upstream

CANARY = b"margaret.hamilton@example.com"
PRIVATE = b'{"note":"Margaret Hamilton wrote from %b."}' % CANARY
"""What the target answers."""
REDACTS = {"action": "redact", "paths": ["$.note"]}
"""The filter, in wire names, that lets nothing of that through."""
PAUSE = 0.05
"""Seconds between two looks."""

Told = tuple[int, str]
"""Status and code of an answer."""

T = TypeVar("T")


class Vouching(Upstream):
    """A target that answers 200 to the credential of the tenant whose name begins the path, and 418 to anything else."""

    def __init__(self) -> None:
        super().__init__(self._vouch)
        self._expected: dict[str, str] = {}

    def expect(self, name: str, secret: str) -> None:
        """From here on calls of `/name/...` are to carry this bearer."""
        self._expected[name] = f"Bearer {secret}"

    def _vouch(self, seen: Seen) -> Answer:
        name = seen.target.split("/")[1]
        right = seen.all("authorization") == [self._expected.get(name)]
        return Answer(200 if right else 418, [("Content-Type", "application/json")], PRIVATE)


class Tenants:
    """Makes tenants of an installation, each with a proxy to one target."""

    def __init__(self, home: RunningHome, target: Vouching) -> None:
        self._home, self._target = home, target

    def make(self, name: str, region: str, **options: Any) -> Governed:
        """A tenant; it may not be in force yet. Options as of `govern`."""
        url = f"{self._target.url}/{name}"
        made = self._home.do(lambda api: govern(api, url, region=region, name=name, **options))
        self._target.expect(name, made.secret)
        return made


class Killed(NamedTuple):
    """A process of a part that was killed, and until when the part may be away.

    number: how many processes the part had. at, until: monotonic seconds. calls: of the load, that had ended before.
    """

    part: str
    region: str | None
    pid: int
    number: int
    at: float
    until: float
    calls: int


class Drill:
    """Kills parts of `home` under `load`, and knows when they are back."""

    def __init__(self, home: RunningHome, load: Load) -> None:
        self.home, self.load = home, load

    def kill(self, part: str, region: str | None, bound: float) -> Killed:
        """SIGKILL to the first process of a part, which may be away for `bound` seconds."""
        number, calls = len(self._pids(part, region)), len(self.load.calls)
        pid = self.home.kill(part, region)
        now = time.monotonic()
        return Killed(part, region, pid, number, now, now + bound, calls)

    # What must be so by the end of that time; each of these returns as soon as it is, or fails.

    def replaced(self, killed: Killed) -> None:
        """As many processes of the part run as before, the killed one not among them."""

        def there() -> bool:
            now = self._pids(killed.part, killed.region)
            return killed.pid not in now and len(now) >= killed.number

        look(there, killed.until, lambda: f"another process of {killed.part}")

    def well(self, killed: Killed) -> None:
        """`exeat status` says of every part that it runs."""

        def ailing() -> list[status.Row]:
            return [row for row in self._rows() if not row.pid or row.state not in {"ready", "running"}]

        look(lambda: not ailing(), killed.until, lambda: f"all parts to run: {ailing()}")

    def done(self, killed: Killed, write: Callable[[ExeatClient], Awaitable[T]]) -> T:
        """The answer to a write that may be repeated."""
        answers: list[T] = []

        def answered() -> bool:
            try:
                answers.append(self.home.do(write))
            except ApiUnreachable:
                return False
            return True

        look(answered, killed.until, lambda: "an answer to a write")
        return answers[0]

    def in_force(self, killed: Killed, change: Change | None) -> None:
        """The API says that every region and edge that a change concerns has it."""
        assert change is not None
        number = change.revision
        look(
            lambda: self.home.do(lambda api: api.revision(number)).in_force(),
            killed.until,
            lambda: f"revision {number} in force",
        )

    def shown(self, killed: Killed, governed: Governed, expected: Told) -> None:
        """Every worker of its edge answers a call of this tenant with that status and code."""
        look(
            lambda: self.ask(governed) == {expected},
            killed.until,
            lambda: f"{expected} of every worker, not {self.ask(governed)}",
        )

    def recorded(self, killed: Killed, governed: Governed) -> None:
        """A record of a call of this tenant can be read."""

        def told() -> bool:
            path = f"/clients/{governed.client_id}/requests"
            try:
                reply = self.home.do(lambda api: api.call("GET", path, query={"limit": 1}))
            except ApiUnreachable:
                return False
            return bool(reply.data and reply.data["requests"])

        look(told, killed.until, lambda: "a record of a call")

    def ask(self, governed: Governed, path: str = "/x") -> set[Told]:
        """Status and code of a call of this tenant, of every worker of its edge."""
        request = get(governed.path + path, key=governed.key)
        with Workers(governed.port, self.home.workers) as workers:
            return {(answer.status, answer.get("exeat-proxy-code") or "") for answer in workers.ask(request)}

    # The calls since.

    def calls(self, killed: Killed) -> list[Call]:
        """Those of the load that ended after the kill."""
        return self.load.calls[killed.calls :]

    def lost(self, killed: Killed) -> list[str]:
        """Of each call that got no answer, which worker had answered the one before on its connection."""
        last = {call.connection: call.worker for call in self.load.calls[: killed.calls]}
        found = []
        for call in self.calls(killed):
            if call.status == 0:
                found.append(last.get(call.connection, "nobody"))
            else:
                last[call.connection] = call.worker
        return found

    def _pids(self, part: str, region: str | None) -> list[int]:
        return [
            row.pid for row in self._rows() if row.part == part and region in {None, row.region} and row.pid
        ]

    def _rows(self) -> list[status.Row]:
        return status.rows(self.home.root)


def look(condition: Callable[[], object], until: float, what: Callable[[], str]) -> None:
    """Returns once `condition` holds. until: monotonic seconds. what: tells what was waited for in vain."""
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what()}"
        time.sleep(PAUSE)
