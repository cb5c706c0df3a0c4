"""Puts together what a worker needs to take policy and leases from its host's link. Nothing here runs yet."""

from __future__ import annotations

import os
import secrets

from actors.link_client import LinkClient
from models.clock import Clock
from models.errors import ConfigurationError
from models.home import EdgeHome, link_socket
from models.setting_types import variable
from proxy_edge.dialler import Dialler
from proxy_edge.identity import Identity
from proxy_edge.known import Trusted
from proxy_edge.leased_permits import LeasedPermits
from proxy_edge.leases import LinkLeases
from proxy_edge.link_source import LinkPolicySource
from proxy_edge.redaction import Redaction
from proxy_edge.settings import EdgeSettings
from proxy_edge.snapshot import Snapshot
from proxy_edge.stored import Stored
from proxy_edge.target_test import Commands
from proxy_edge.vault_client import VaultClient


class LinkMode:
    """One worker's source over the link, with everything behind it. permits: where its callers' permits come from.
    redaction: who finds personal data in answers.
    """

    def __init__(self, settings: EdgeSettings, index: int, clock: Clock) -> None:
        """Reads the keys of the home. index: the worker's. Raises ConfigurationError for what is missing."""
        if settings.region is None:
            raise ConfigurationError("is required without a policy file", field=variable("region"))
        root = settings.home.absolute()
        home = EdgeHome(root)
        self._identity = Identity.load(home)
        self._clock = clock
        # Of this life alone: a successor must not answer for what its predecessor held.
        holder = f"{self._identity.host_id}/{index}/{secrets.token_hex(4)}"
        self.permits = LeasedPermits(self._call, clock, holder=holder, shards=settings.limiter_shards)
        self.redaction = Redaction(self._call)
        trusted = Trusted(settings.region, self._identity.control, self._identity.vault)
        vault = VaultClient(self._call, self._identity, settings.region, clock)
        self._leases = LinkLeases(vault.lease, clock)
        snapshot = Snapshot(home.snapshot, self._identity.snapshot_key, settings.region, clock)
        self.source = LinkPolicySource(trusted, vault, self._leases, Stored(snapshot, trusted, clock), clock)
        self.client = LinkClient(
            link_socket(root, os.getuid()),
            worker=index,
            have=self.source.have,
            on_update=self.source.on_update,
            on_run=self.source.on_run,
            on_change=self.source.on_change,
            on_surrender=self.permits.surrender,
            holder=holder,
        )
        self.source.attach(self.client)

    def carry_commands(self, dialler: Dialler, via_line: bytes) -> None:
        """From here on commands are carried out. via_line: this edge's, with its CRLF."""
        self.source.carry = Commands(
            self._identity.control,
            self._identity.host_id,
            leases=self._leases,
            dialler=dialler,
            clock=self._clock,
            done=self.client.done,
            via_line=via_line,
        ).carry

    async def _call(self, role: str, method: str, payload: bytes, timeout: float, shard: int = 0) -> bytes:
        return await self.client.call(role, method, payload, timeout, shard=shard)
