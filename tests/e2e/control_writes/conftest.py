"""One prepared home, of which every test of this folder gets a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.control_writes.prepared import CREDENTIAL, Prepared, one
from tests.kit.control import ControlHome, WireRegion
from tests.kit.edge import until


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    home = ControlHome(tmp_path_factory.mktemp("control") / "home")
    region = WireRegion(home.home)
    with home.running() as control:
        region.announce(control.url)
        with region.following(control.url):
            client = one(control.http.post("/clients", json={"clientName": "acme"}), 201)["clientId"]
            path = f"/clients/{client}/credentials"
            made = one(control.http.post(path, json={**CREDENTIAL, "credentialName": "old"}), 201)
            credential = made["credentialId"]
            for pattern in ("^/a", "^/b"):
                rule = {"effect": "deny", "path": {"pattern": pattern}}
                answer = control.http.post(f"{path}/{credential}/rules", json=rule)
                assert answer.status_code == 201, answer.text
            region.settled(int(answer.headers["exeat-revision"]))
            until(lambda: not any(change.orders for change in home.read().changes), 10, "orders erased")
    return Prepared(home, region, client, credential)


@pytest.fixture
def prepared(original: Prepared, tmp_path: Path) -> Prepared:
    return original.copy(tmp_path)
