"""The policy file's top level: from plain values to resources that fit together.

Fills what the file may leave out (client, region, ids of rules and filters, limits of the client), resolves secrets through
the reader it is given, and reports every problem with its place instead of stopping at the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from models.errors import ConfigurationError
from models.ids import RESOURCE_ID
from models.resources import Client, Credential, Proxy, Target, problems
from models.resources.base import check_region
from models.resources.problems import GUARDED, Location, about_unknown
from models.resources.secrets import SECRET_FIELD_OF, SECRET_FIELDS
from models.secret import Secret
from proxy_edge.policy_file.crosscheck import PARTS, Shelf, Shelves, check_references
from proxy_edge.policy_file.findings import Findings

ReadSecret = Callable[[object], tuple[Secret, str]]
Resource = TypeVar("Resource", Client, Credential, Target, Proxy)

VERSION: Final = 1
DEFAULT_REGION: Final = "local"
_LISTS: Final = {"clients": "client", "credentials": "credential", "targets": "target", "proxies": "proxy"}
_TOP: Final = frozenset({"version", "region", *_LISTS})
_LIMITS: Final = {
    "proxyMaxRequestsPerMinute": "requests_per_minute",
    "proxyMaxRequestsPerDay": "requests_per_day",
}


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy file that holds together.

    sources: the file itself, then every secret file it names. digest: changes whenever one of them does; it
    is made without the secrets, so that it may be shown. warnings: what works but should be changed.
    """

    region: str
    credentials: tuple[Credential, ...]
    targets: tuple[Target, ...]
    proxies: tuple[Proxy, ...]
    sources: tuple[Path, ...] = ()
    digest: str = ""
    warnings: tuple[ConfigurationError, ...] = ()


def read_document(value: object, findings: Findings, read_secret: ReadSecret) -> PolicyDocument:
    """Makes the resources of a parsed file. What is wrong goes to `findings`; then the result is partial."""
    if not isinstance(value, dict):
        findings.error((), "must be a mapping with version, clients, credentials, targets and proxies")
        value = {"version": VERSION}
    for name in (one for one in value if one not in _TOP):
        findings.error((name,), about_unknown(name, _TOP))
    version = value.get("version")
    if type(version) is not int or version != VERSION:
        findings.error(
            ("version",), f"must be {VERSION}" if "version" in value else f"is required: {VERSION}"
        )
    reader = _Reader(value, _region(value, findings), findings, read_secret)
    clients = reader.all("clients", Client)
    reader.clients = {one.id: one for one in clients.resources.values()}
    credentials, targets = reader.all("credentials", Credential), reader.all("targets", Target)
    proxies = reader.all("proxies", Proxy)
    check_references(Shelves(clients, credentials, targets, proxies), findings)
    return PolicyDocument(
        region=reader.region,
        credentials=tuple(credentials.resources.values()),
        targets=tuple(targets.resources.values()),
        proxies=tuple(proxies.resources.values()),
    )


def _region(value: Mapping[str, Any], findings: Findings) -> str:
    region = value.get("region")
    if region is None:
        return DEFAULT_REGION
    try:
        if isinstance(region, str):
            return check_region(region)
        findings.error(("region",), "must be a string")
    except ValueError as error:
        findings.error(("region",), str(error))
    return DEFAULT_REGION


class _Reader:
    """Reads the lists of one file. clients: the valid ones, known once their own list was read."""

    def __init__(
        self, document: Mapping[str, Any], region: str, findings: Findings, read_secret: ReadSecret
    ) -> None:
        self.region = region
        self.clients: dict[str, Client] = {}
        self._document, self._findings, self._read_secret = document, findings, read_secret
        self._only_client = _only_client(document)

    def all(self, name: str, kind: type[Resource]) -> Shelf[Resource]:
        """Every entry of the list `name`, valid ones as resources by their index."""
        shelf: Shelf[Resource] = Shelf(name, _LISTS[name])
        entries = self._document.get(name)
        if entries is None:
            return shelf
        if not isinstance(entries, list):
            self._findings.error((name,), "must be a list")
            return shelf
        for index, entry in enumerate(entries):
            location: Location = (name, index)
            if not isinstance(entry, dict):
                self._findings.error(location, "must be a mapping")
                continue
            filled = shelf.entries[index] = self._filled(location, _LISTS[name], entry)
            self._refuse_redact(location, filled)
            try:
                shelf.resources[index] = kind.model_validate(filled, by_alias=True, by_name=False)
            except ValidationError as error:
                self._findings.problems(location, problems(kind, error))
        return shelf

    def _filled(self, location: Location, prefix: str, entry: dict[str, Any]) -> dict[str, Any]:
        """The entry with what a file may leave out; references are replaced by their secrets."""
        filled = dict(entry)
        if prefix == "client":
            return filled
        if self._only_client is not None:
            filled.setdefault("clientId", self._only_client)
        region = filled.setdefault(f"{prefix}Region", self.region)
        if isinstance(region, str) and region != self.region:
            self._findings.error(
                (*location, f"{prefix}Region"), f"must be the region of this file, {self.region}"
            )
        for name, part in PARTS.items():
            if isinstance(filled.get(name), list):
                filled[name] = _with_ids(filled[name], part, prefix, entry.get(f"{prefix}Id"))
        if prefix == "credential":
            self._resolve_secret(location, filled)
        if prefix == "proxy":
            self._inherit_limits(filled)
        return filled

    def _refuse_redact(self, location: Location, filled: Mapping[str, Any]) -> None:
        """An edge with a policy file has no redactor: a filter that could only ever fail is no filter."""
        filters = filled.get("filters")
        for index, one in enumerate(filters if isinstance(filters, list) else ()):
            if isinstance(one, dict) and one.get("action") == "redact":
                place = (*location, "filters", index, "action")
                message = "redact needs a redactor, which an edge with a policy file does not have"
                self._findings.error(place, f"{message}; retain, destroy and mask work here")

    def _resolve_secret(self, location: Location, filled: dict[str, Any]) -> None:
        body = filled.get(GUARDED)
        auth_type = filled.get("credentialAuthType")
        if body is None and isinstance(auth_type, str) and auth_type in SECRET_FIELD_OF:
            self._findings.error(
                (*location, GUARDED), "is required in a policy file; only the control plane makes secrets"
            )
            filled[GUARDED] = {SECRET_FIELD_OF[auth_type]: _stand_in(location)}
        if not isinstance(body, dict):
            return
        resolved = dict(body)
        for name in sorted(SECRET_FIELDS & body.keys()):
            place = (*location, GUARDED, name)
            try:
                resolved[name], warning = self._read_secret(body[name])
            except ConfigurationError as error:
                self._findings.error(place, error.message)
                resolved[name] = _stand_in(place)
            else:
                if warning:
                    self._findings.warning(place, warning)
        filled[GUARDED] = resolved

    def _inherit_limits(self, filled: dict[str, Any]) -> None:
        """A limit that the proxy leaves out is its client's; `null` says that there is none."""
        owner = filled.get("clientId")
        client = self.clients.get(owner) if isinstance(owner, str) else None
        if client is not None:
            for wire, attribute in _LIMITS.items():
                filled.setdefault(wire, getattr(client.configuration.limits, attribute))


def _stand_in(place: Location) -> Secret:
    """Takes the place of a secret that could not be had, so that the rest is checked all the same."""
    return Secret(hashlib.sha256(repr(place).encode()).hexdigest())


def _only_client(document: Mapping[str, Any]) -> str | None:
    """The id of the file's client, if there is exactly one."""
    clients = document.get("clients")
    if isinstance(clients, list) and len(clients) == 1 and isinstance(clients[0], dict):
        only = clients[0].get("clientId")
        if isinstance(only, str) and RESOURCE_ID.match(only):
            return only
    return None


def _with_ids(parts: list[Any], part: str, kind: str, owner: object) -> list[Any]:
    """Rules and filters without an id get one from their owner and position, the same at every load."""
    named = f"{part}-{kind}-{owner}"
    if not isinstance(owner, str) or not RESOURCE_ID.match(f"{named}-1000"):
        named = f"{part}-{kind}-" + hashlib.sha256(repr(owner).encode()).hexdigest()[:32]
    return [
        {f"{part}Id": f"{named}-{position}", **one} if isinstance(one, dict) else one
        for position, one in enumerate(parts, start=1)
    ]
