"""A home with a tenant in it, copied for every test, and what its log must be after whatever happens to writers.

What a write is supposed to be is the log: all of it there or nothing, no hole, nothing twice, and everything
else (what GET shows, the audit list, what the region has, the projection that is kept) agrees with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import httpx

from control_api.ledger.projection import differences
from tests.kit.control import REGION, ControlHome, WireRegion

TOKEN = "target-token-of-the-write-0123456789"
CREDENTIAL = {
    "credentialName": "cut off",
    "credentialType": "target",
    "credentialAuthType": "bearer",
    "credentialRegion": REGION,
    "credentialSecret": {"token": TOKEN},
}


class Prepared(NamedTuple):
    """A home in which nothing runs, its region, a client of the owner, and a credential with two rules."""

    home: ControlHome
    region: WireRegion
    client_id: str
    credential_id: str

    @property
    def client(self) -> str:
        return f"/clients/{self.client_id}"

    @property
    def credential(self) -> str:
        return f"{self.client}/credentials/{self.credential_id}"

    def copy(self, folder: Path) -> Prepared:
        return self._replace(home=self.home.copy(folder / "home"), region=self.region.copy())


def one(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The single element of a success."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    (elements,) = [value for name, value in body.items() if name not in {"message", "nextCursor"}]
    (element,) = elements
    return dict(element)


def is_whole(home: ControlHome) -> None:
    """No hole in the log, and the projection that is kept is the one that the log gives."""
    found = home.read()
    assert [change.revision for change in found.changes] == [*range(1, len(found.changes) + 1)]
    assert differences(found.kept, found.rebuilt) == []
    assert found.kept.revision == len(found.changes)
