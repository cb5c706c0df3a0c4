"""Where a worker's policy and leases come from: the interface, and the policy file behind it.

A source hands over whole bundles; a fault keeps the last good one in force and is told apart. The file
source reads files and the environment it was given, and nothing that a link will need to change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from models.clock import Clock
from models.errors import ConfigurationError
from models.policy import CompiledProxy, PolicySources, compile_policy
from models.resources import ApiKeySecret, BearerSecret, Credential
from models.secret import Secret
from models.verifiers import Accepted, keyed_digest
from proxy_edge.edge import Bundle
from proxy_edge.policy_file import PolicyDocument, PolicyFileErrors, load_policy_file
from proxy_edge.steps.lease import Injection, StaticLeases, injection

_log = logging.getLogger("exeat.edge.policy")


Confirm = Callable[[float], None]
"""Told whenever a source is heard, with the age in seconds of what it said."""


class PolicySource(Protocol):
    """Delivers bundles to `apply` and faults to `fault`, in order, until stopped."""

    @property
    def link(self) -> str:
        """How it stands: `file`, or `connected` and `away` for one that comes over a link."""
        ...

    def first(self) -> Bundle | None:
        """The bundle to start with, None when `follow` will bring it. Raises ConfigurationError."""
        ...

    async def follow(
        self, apply: Callable[[Bundle], None], fault: Callable[[str], None], confirm: Confirm
    ) -> None:
        """Runs until cancelled; calls `apply` for every later bundle, `confirm` whenever it hears its source.

        fault: what is wrong with what the source said last, empty when nothing is any more.
        """
        ...


class FilePolicySource:
    """A policy file and the secret files it names, looked at every `interval` seconds.

    environment: where `{env: NAME}` looks. A file that cannot be used is logged with all its errors; what
    was in force stays in force.
    """

    def __init__(
        self,
        path: Path,
        environment: Mapping[str, str],
        clock: Clock,
        interval: float,
        pepper: Secret,
        *,
        region: str | None = None,
    ) -> None:
        """interval: seconds. pepper: for the verifiers' digests. region: the one region a file may be for."""
        self._path = path
        self._environment = environment
        self._clock = clock
        self._interval = interval
        self._pepper = pepper
        self._region = region
        self._revision = 0
        self._newest: dict[str, bytes] = {}
        self._overlapping: dict[str, dict[bytes, float]] = {}
        self._document: PolicyDocument | None = None
        self._expiry: float = float("inf")
        self._fault = ""
        self._seen: tuple[tuple[int, int, int] | None, ...] = ()
        self._watched: tuple[Path, ...] = (path.absolute(),)

    @property
    def link(self) -> str:
        """A file needs none."""
        return "file"

    def first(self) -> Bundle:
        """Loads the file; raises PolicyFileErrors with every problem found."""
        self._seen = self._signature()
        return self._bundle(self._load())

    async def follow(
        self, apply: Callable[[Bundle], None], fault: Callable[[str], None], confirm: Confirm
    ) -> None:
        """Watches until cancelled. A file that is there is a source that is there, even a faulty one."""
        while True:
            await asyncio.sleep(self._interval)
            self._look(apply, fault)
            if _stamp(self._path.absolute()) is not None:
                confirm(0.0)

    def _look(self, apply: Callable[[Bundle], None], fault: Callable[[str], None]) -> None:
        """Loads what changed since it was last looked at, and recompiles when a credential expired."""
        # Stamped before it is read: a change in between is seen the next time, at worst read twice.
        seen, watched = self._signature(), self._watched
        if seen != self._seen:
            self._seen = seen
            try:
                document = self._load()
                unchanged = self._document is not None and self._document.digest == document.digest
                bundle = None if unchanged and not self._fault else self._bundle(document)
            except ConfigurationError as error:
                self._failed(str(error), fault, getattr(error, "errors", (error,)))
            except Exception as error:  # noqa: BLE001 - whatever ails one edit, the next one must be noticed
                self._failed(f"cannot be used: {type(error).__name__}", fault, ())
            else:
                self._fault = ""
                if bundle is not None:
                    apply(bundle)
                    _log.info("policy in force", extra={"revision": bundle.policy.revision})
            if not set(watched).issuperset(self._watched):
                self._seen = ()  # files that were named only now had no stamp before they were read
        if self._document is not None and self._clock.wall_ms() / 1000 >= self._expiry:
            apply(self._bundle(self._document))
            if self._fault:
                fault(self._fault)  # the file on disk is as unusable as before

    def _failed(self, text: str, fault: Callable[[str], None], errors: Iterable[ConfigurationError]) -> None:
        """What is in force stays in force; the operator is told everything that is wrong."""
        self._fault = text
        for one in tuple(errors) or (text,):
            _log.error("policy file refused", extra={"fault": str(one)})
        fault(text)

    def _load(self) -> PolicyDocument:
        """Reads the file and those it names; nothing of it is in force yet."""
        try:
            document = load_policy_file(self._path, self._environment, self._region)
        except PolicyFileErrors as error:
            self._watched = tuple(dict.fromkeys((*self._watched, *error.sources)))
            raise
        if self._document is None or self._document.digest != document.digest:
            for warning in document.warnings:
                _log.warning("policy file", extra={"warning": str(warning)})
        self._watched = document.sources
        return document

    def _bundle(self, document: PolicyDocument) -> Bundle:
        """Compiles the document as of now: an expired credential opens nothing any more.

        Only when all of it could be made does this source take note of it. Raises ConfigurationError.
        """
        revision = self._revision + 1
        now = datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC)
        expiries = [one.expires_at for one in document.credentials if one.expires_at is not None]
        newest, overlaps = self._overlap(document, now.timestamp())
        ends = [one.timestamp() for one in expiries if one > now]
        ends += [until for old in overlaps.values() for until in old.values()]
        live = {one.id for one in document.credentials if one.expires_at is None or one.expires_at > now}
        # An expired one keeps its place in a request, so that it is refused there and never forwarded.
        callers = {one.id: accepted(one, self._pepper) for one in document.credentials if one.type == "proxy"}
        policy = compile_policy(
            PolicySources(
                revision=revision,
                region=document.region,
                credentials=document.credentials,
                targets=document.targets,
                proxies=document.proxies,
                accepted={
                    name: replace(
                        one, digests=(*one.digests, *overlaps.get(name, ())) if name in live else ()
                    )
                    for name, one in callers.items()
                },
                pepper=self._pepper,
            )
        )
        for broken in policy.broken:
            _log.error("proxy cannot be compiled", extra={"proxy": broken.id, "reason": broken.reason})
        senders = {
            one.id: self._injection(one)
            for one in document.credentials
            if one.type == "target" and one.id in live
        }
        leases = StaticLeases(
            (proxy.lease_key, senders[proxy.target_credential_id])
            for proxy in policy.proxies.values()
            if isinstance(proxy, CompiledProxy) and proxy.target_credential_id in senders
        )
        self._document, self._revision = document, revision
        self._newest, self._overlapping = newest, overlaps
        self._expiry = min(ends, default=float("inf"))
        return Bundle(policy, leases)

    def _injection(self, credential: Credential) -> Injection:
        try:
            return injection(credential.secret)
        except ConfigurationError as error:
            place = f"credentials[{credential.id}].credentialSecret"
            raise ConfigurationError(error.message, field=place, file=str(self._path), line=1) from None

    def _overlap(
        self, document: PolicyDocument, now: float
    ) -> tuple[dict[str, bytes], dict[str, dict[bytes, float]]]:
        """Per proxy credential: the newest digest; and those of replaced secrets still valid, with their ends.

        credentialOverlapSeconds counts from the moment at which this process saw the new secret. A shorter
        one in a later document holds for what overlaps already: 0 ends it at once.
        """
        newest, kept = {}, {}
        for credential in document.credentials:
            if credential.type != "proxy":
                continue
            (digest,) = accepted(credential, self._pepper).digests
            latest = now + credential.overlap_seconds
            old = self._overlapping.get(credential.id, {})
            before = self._newest.get(credential.id, digest)
            if before != digest:
                old = {**old, before: latest}
            newest[credential.id] = digest
            kept[credential.id] = {
                one: min(until, latest)
                for one, until in old.items()
                if min(until, latest) > now and one != digest
            }
        return newest, kept

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._watched)


def accepted(credential: Credential, pepper: Secret) -> Accepted:
    """How a proxy credential is verified; its secret goes no further than this digest."""
    secret = credential.secret
    if isinstance(secret, ApiKeySecret):
        digest = keyed_digest(secret.key.reveal(), pepper)
        return Accepted(credential.id, "apiKey", (digest,), secret.location, secret.name, secret.prefix)
    if isinstance(secret, BearerSecret):
        digest = keyed_digest(secret.token.reveal(), pepper)
        return Accepted(credential.id, "bearer", (digest,), prefix=secret.prefix)
    raise ConfigurationError("has no secret to verify a caller with", field=credential.id)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
