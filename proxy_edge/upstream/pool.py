"""Keeps connections to targets: reuses idle ones, dials new ones, bounds both, queues who must wait.

A connection returns here only when its answer is complete and nothing followed it. Lanes are separate per
client, target and TLS identity, stacks within a lane per checked address, so that no caller ever meets a
connection that another client's request opened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from models.errors import Refusal, TargetSaturated, TargetUnreachable
from models.policy import CompiledTarget
from proxy_edge.dialler import Dialler, TlsIdentity
from proxy_edge.tasks import spawn
from proxy_edge.upstream.connection import UpstreamConnection

LaneKey = tuple[str, str, str, str, int, str | None]
"""(client, target, scheme, host, port, CA); the checked address is the key inside the lane."""

_IDLE_SECONDS = 60.0
_QUEUE_PER_CONNECTION = 4


class Waiter(Protocol):
    """Who waits for a connection."""

    def connected(self, connection: UpstreamConnection) -> None:
        """A connection is there."""
        ...

    def not_connected(self, refusal: Refusal) -> None:
        """None will come."""
        ...


class Lane:
    """The connections of one client to one target."""

    __slots__ = (
        "_dialler",
        "_free",
        "_handing",
        "_limit",
        "_now",
        "_safe_idle",
        "_target",
        "_tls",
        "busy",
        "idle",
        "waiting",
    )

    def __init__(
        self, target: CompiledTarget, dialler: Dialler, now: Callable[[], float], unsafe_idle: float
    ) -> None:
        self._target = target
        self._dialler = dialler
        self._now = now
        self._safe_idle = unsafe_idle
        self._tls = TlsIdentity(target.host, target.ca) if target.scheme == "https" else None
        self._limit = target.connections
        self.busy = 0
        self.idle: dict[str, list[UpstreamConnection]] = {}
        self.waiting: deque[Waiter] = deque()
        self._free: list[UpstreamConnection] = []
        self._handing = False

    def take(self, *, safe: bool) -> UpstreamConnection | None:
        """An idle connection to an address that is still approved, or None. Never waits.

        safe: the request may be repeated, so any idle connection will do; otherwise only one that the
        target cannot have closed in the meantime (idle less than half its keep-alive).
        """
        addresses = self._dialler.cached(self._target.host, self._target.port)
        if addresses is None:
            return None
        for address in addresses:
            stack = self.idle.get(address)
            while stack:
                connection = stack[-1]
                if connection.closed or connection.dirty:
                    stack.pop()
                    continue
                if not safe and self._now() - connection.idle_since > self._safe_idle:
                    break
                stack.pop()
                connection.reused = True
                self.busy += 1
                return connection
        return None

    def request(self, waiter: Waiter, *, limit: int) -> None:
        """Dials for `waiter`, or queues it while all connections are busy.

        Raises TargetSaturated when the queue is full too.
        """
        self._limit = limit
        if self.busy >= limit:
            if len(self.waiting) >= limit * _QUEUE_PER_CONNECTION:
                raise TargetSaturated(self._target.id)
            self.waiting.append(waiter)
            return
        self._make_room(limit)
        self.busy += 1
        spawn("dial", self._dial(waiter))

    def forget(self, waiter: Waiter) -> None:
        """`waiter` no longer waits; a connection dialled for it serves the next one."""
        if waiter in self.waiting:
            self.waiting.remove(waiter)

    def unused(self, connection: UpstreamConnection) -> None:
        """A connection on which nothing was sent: as good as before."""
        self._free.append(connection)
        self._hand_on()

    def give_back(self, connection: UpstreamConnection) -> None:
        """The exchange on `connection` is over: keep it when it can be reused, close it otherwise."""
        reusable = connection.reusable
        connection.end()
        if reusable:
            connection.reused = True
        else:
            connection.dirty = True
        self._free.append(connection)
        self._hand_on()

    def reap(self) -> bool:
        """Closes what was idle too long; True when the lane is empty and can be dropped."""
        oldest = self._now() - _IDLE_SECONDS
        for address, stack in list(self.idle.items()):
            keep = []
            for connection in stack:
                if connection.closed or connection.dirty or connection.idle_since < oldest:
                    connection.abort()
                else:
                    keep.append(connection)
            if keep:
                self.idle[address] = keep
            else:
                del self.idle[address]
        return not (self.idle or self.busy or self.waiting)

    def close(self) -> None:
        """Closes every idle connection."""
        for stack in self.idle.values():
            for connection in stack:
                connection.abort()
        self.idle.clear()

    def _hand_on(self) -> None:
        """Gives free connections to who waits.

        One after the other and never one inside the other: a thousand who wait may each refuse at once.
        """
        if self._handing:
            return
        self._handing = True
        try:
            while self._free:
                connection = self._free.pop()
                if connection.closed or connection.dirty:
                    self._lost(connection)
                elif self.waiting:
                    self.waiting.popleft().connected(connection)
                else:
                    self._keep(connection)
        finally:
            self._handing = False

    def _make_room(self, limit: int) -> None:
        """Closes idle connections, the longest idle first, so that one more stays within the limit."""
        idle = sorted((one for stack in self.idle.values() for one in stack), key=lambda one: one.idle_since)
        for connection in idle[: max(0, self.busy + 1 + len(idle) - limit)]:
            self.idle[connection.address].remove(connection)
            connection.abort()

    def _keep(self, connection: UpstreamConnection) -> None:
        self.busy -= 1
        connection.idle_since = self._now()
        self.idle.setdefault(connection.address, []).append(connection)

    def _lost(self, connection: UpstreamConnection) -> None:
        """A place became free: whoever is next in the queue gets a fresh connection."""
        connection.abort()
        self.busy -= 1
        self._serve_next()

    def _serve_next(self) -> None:
        if self.waiting and self.busy < self._limit:
            self.busy += 1
            spawn("dial", self._dial(self.waiting.popleft()))

    async def _dial(self, waiter: Waiter) -> None:
        try:
            _, connection, address = await self._dialler.open(
                self._target.host, self._target.port, UpstreamConnection, self._tls
            )
        except BaseException as error:
            self.busy -= 1
            self._serve_next()  # whoever queued behind a failed dial gets the same chance
            if isinstance(error, Refusal):
                waiter.not_connected(error)
                return
            waiter.not_connected(TargetUnreachable(type(error).__name__))
            raise
        connection.address = address
        waiter.connected(connection)


class Pool:
    """All lanes of one worker."""

    def __init__(self, dialler: Dialler, now: Callable[[], float], target_keepalive: float) -> None:
        self._dialler = dialler
        self._now = now
        self._unsafe_idle = target_keepalive / 2
        self._lanes: dict[LaneKey, Lane] = {}

    def lane(self, key: LaneKey, target: CompiledTarget) -> Lane:
        """The lane of one client to one target; `key` is precomputed with the policy."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(target, self._dialler, self._now, self._unsafe_idle)
        return lane

    def reap(self) -> None:
        """Closes idle connections and forgets empty lanes; called by the worker's ticker."""
        for key in [key for key, lane in self._lanes.items() if lane.reap()]:
            del self._lanes[key]

    def close(self) -> None:
        """Closes every idle connection, at the worker's stop."""
        for lane in self._lanes.values():
            lane.close()

    def __repr__(self) -> str:
        busy = sum(lane.busy for lane in self._lanes.values())
        idle = sum(len(stack) for lane in self._lanes.values() for stack in lane.idle.values())
        queued = sum(len(lane.waiting) for lane in self._lanes.values())
        return f"<Pool {busy} busy, {idle} idle, {queued} queued>"
