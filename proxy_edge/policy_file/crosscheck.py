"""Checks between the resources of one policy file: references, sides, owners, ids, aliases.

It works on the entries as written, so that an entry with another error is checked all the same, and repeats
no value in a message but ids that the file itself declares.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Final, Generic, TypeVar

from models.ids import RESOURCE_ID
from models.resources import Client, Credential, Proxy, Target
from models.resources.problems import Location
from models.resources.secrets import secret_values
from proxy_edge.policy_file.findings import Findings

Resource = TypeVar("Resource", Client, Credential, Target, Proxy)
Entry = Mapping[str, Any]

PARTS: Final = {"rules": "rule", "filters": "filter"}
"""What stands on credentials, targets and proxies, by the names of the lists."""

_MANY: Final = "proxyProxyCredentialIds"
_ONE: Final = "proxyProxyCredentialId"
_SUGGESTED_FROM: Final = 100
"""Above so many ids none is suggested: the search is quadratic in a file full of unknown ones."""


@dataclass
class Shelf(Generic[Resource]):
    """One list of the file, complete before it is searched.

    entries: as written, with what was left out filled in, by index; resources: the valid ones among them.
    """

    name: str
    prefix: str
    entries: dict[int, Entry] = field(default_factory=dict)
    resources: dict[int, Resource] = field(default_factory=dict)

    @cached_property
    def declared(self) -> dict[str, int]:
        """Each id that the file declares, valid entry or not, and the index of its first entry."""
        found: dict[str, int] = {}
        for index, entry in self.entries.items():
            one = entry.get(f"{self.prefix}Id")
            if isinstance(one, str):
                found.setdefault(one, index)
        return found


@dataclass(frozen=True, slots=True)
class Shelves:
    """The four lists of a file."""

    clients: Shelf[Client]
    credentials: Shelf[Credential]
    targets: Shelf[Target]
    proxies: Shelf[Proxy]


def check_references(shelves: Shelves, findings: Findings) -> None:
    """Adds to `findings` everything that does not fit together."""
    _check_ids(shelves.clients, findings)
    for shelf in (shelves.credentials, shelves.targets, shelves.proxies):
        _check_ids(shelf, findings)
        _check_owners(shelf, shelves.clients.declared, findings)
    for name, part in PARTS.items():
        _check_part_ids((shelves.credentials, shelves.targets, shelves.proxies), name, part, findings)
    _check_aliases(shelves.proxies, findings)
    for index, entry in shelves.proxies.entries.items():
        _ProxyCheck(index, entry, shelves, findings).run()


def _check_ids(shelf: Shelf[Any], findings: Findings) -> None:
    name = f"{shelf.prefix}Id"
    for index, entry in shelf.entries.items():
        one = entry.get(name)
        first = shelf.declared[one] if isinstance(one, str) else None
        if first is not None and first != index:
            findings.error((shelf.name, index, name), f"is already the id of {shelf.name}[{first}]")


def _check_owners(shelf: Shelf[Any], clients: Mapping[str, int], findings: Findings) -> None:
    for index, entry in shelf.entries.items():
        owner = entry.get("clientId")
        if isinstance(owner, str) and owner not in clients:
            findings.error((shelf.name, index, "clientId"), _unknown("client", owner, clients))


def _check_part_ids(shelves: Iterable[Shelf[Any]], name: str, part: str, findings: Findings) -> None:
    """Ids of rules, and of filters, are unique in the file: a record names them by their id alone."""
    seen: set[str] = set()
    for shelf in shelves:
        for index, entry in shelf.entries.items():
            parts = entry.get(name)
            for position, value in enumerate(parts if isinstance(parts, list) else ()):
                one = value.get(f"{part}Id") if isinstance(value, dict) else None
                if isinstance(one, str):
                    if one in seen:
                        location = (shelf.name, index, name, position, f"{part}Id")
                        findings.error(location, f"is already the id of another {part}")
                    seen.add(one)


def _check_aliases(proxies: Shelf[Proxy], findings: Findings) -> None:
    seen: dict[str, int] = {}
    for index, entry in proxies.entries.items():
        alias = entry.get("proxyAlias")
        if not isinstance(alias, str):
            continue
        location = ("proxies", index, "proxyAlias")
        if alias in proxies.declared:
            findings.error(location, f"is the id of proxies[{proxies.declared[alias]}]")
        if alias in seen:
            findings.error(location, f"is already the alias of proxies[{seen[alias]}]")
        seen.setdefault(alias, index)


class _ProxyCheck:
    """The references of one proxy."""

    def __init__(self, index: int, entry: Entry, shelves: Shelves, findings: Findings) -> None:
        self._index, self._entry, self._shelves, self._findings = index, entry, shelves, findings

    def run(self) -> None:
        """Checks target, target credential and every proxy credential."""
        self._find(self._shelves.targets, "target", self._entry.get("proxyTargetId"), ("proxyTargetId",))
        sender = self._entry.get("proxyTargetCredentialId")
        self._find_credential("target", sender, ("proxyTargetCredentialId",))
        callers = []
        for place, one in self._callers():
            found = self._find_credential("proxy", one, place)
            caller = None if found is None else self._shelves.credentials.resources.get(found)
            if caller is not None:
                callers.append((place, caller))
        for (_, first), (place, second) in combinations(callers, 2):
            if first.id != second.id and _same_secret(first, second):
                self._error(place, f"has the same secret as {first.id}; callers could not be told apart")

    def _callers(self) -> list[tuple[Location, object]]:
        many = self._entry.get(_MANY)
        callers: list[tuple[Location, object]] = [((_ONE,), self._entry.get(_ONE))]
        if isinstance(many, list):
            callers += [((_MANY, position), one) for position, one in enumerate(many)]
        return callers

    def _find_credential(self, side: str, one: object, place: Location) -> int | None:
        """The index of a credential of the side wanted; every other case is reported."""
        index = self._find(self._shelves.credentials, "credential", one, place)
        if index is None:
            return None
        found = self._shelves.credentials.entries[index].get("credentialType")
        if found != side and found in ("proxy", "target"):
            self._error(place, f"is a {found} credential; a {side} credential is needed here")
            return None
        return index

    def _find(self, shelf: Shelf[Any], noun: str, one: object, place: Location) -> int | None:
        if not isinstance(one, str):
            return None  # left out or of the wrong type, which the proxy itself reports
        index = shelf.declared.get(one)
        if index is None:
            self._error(place, _unknown(noun, one, shelf.declared))
            return None
        owner, own = shelf.entries[index].get("clientId"), self._entry.get("clientId")
        if isinstance(owner, str) and isinstance(own, str) and owner != own:
            self._error(place, f"is a {noun} of another client")
        return index

    def _error(self, place: Location, message: str) -> None:
        self._findings.error(("proxies", self._index, *place), message)


def _same_secret(first: Credential, second: Credential) -> bool:
    """Whether two credentials accept the same value; Secret compares in constant time."""
    if first.secret is None or second.secret is None:
        return False
    return any(
        one == other for _, one in secret_values(first.secret) for _, other in secret_values(second.secret)
    )


def _unknown(noun: str, one: str, declared: Mapping[str, int]) -> str:
    message = f"there is no {noun} with this id in the file"
    near = difflib.get_close_matches(one[:128], declared, n=1) if len(declared) <= _SUGGESTED_FROM else []
    return f"{message}; did you mean {near[0]}?" if near and RESOURCE_ID.match(near[0]) else message
