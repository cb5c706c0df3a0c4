"""An edge host's own key and the keys it believes, read from its home."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ConfigurationError
from models.home import EdgeHome
from proxy_edge.identity import Identity
from tests.kit.edge_region import EdgeRegion


@pytest.fixture
def region(tmp_path: Path) -> EdgeRegion:
    return EdgeRegion(tmp_path)


def test_identity_of_an_enrolled_host(region: EdgeRegion) -> None:
    """Its signer, the pinned keys, and a key for the snapshot that is none of them and always the same."""
    found = Identity.load(region.edge_home)
    assert (found.host_id, found.signer.public) == ("host-1", region.host.public)
    assert (found.control.public, found.vault.public) == (region.control.public, region.identity.public)
    key = found.snapshot_key
    assert len(key) == 32
    assert key == Identity.load(region.edge_home).snapshot_key
    assert key.reveal() != bytes.fromhex(region.edge_home.host_key.read_text())
    assert key != EdgeRegion(region.edge_root.parent / "other").host_identity.snapshot_key


def test_repr_shows_no_key(region: EdgeRegion) -> None:
    """Only who it is."""
    assert repr(Identity.load(region.edge_home)) == "Identity(host-1)"


@pytest.mark.parametrize("name", ["host_key", "host_id", "control_public", "vault_public"])
@pytest.mark.parametrize("text", [None, "", "nonsense/", "00" * 31, "\x00"])
def test_file_that_cannot_be_used_is_named(region: EdgeRegion, name: str, text: str | None) -> None:
    """Missing, empty, too short, no hex: the operator is told which file, and nothing of what is in it."""
    path: Path = getattr(region.edge_home, name)
    path.unlink()
    if text is not None:
        path.write_text(text)
        path.chmod(0o600)
    if name == "host_id" and text == "00" * 31:
        return  # an id may look like that
    with pytest.raises(ConfigurationError) as caught:
        Identity.load(region.edge_home)
    assert caught.value.file == str(path)
    assert not text or text not in caught.value.message


def test_host_key_open_to_others_is_refused(region: EdgeRegion) -> None:
    """Whoever else reads it is this host, too."""
    region.edge_home.host_key.chmod(0o640)
    with pytest.raises(ConfigurationError, match="600"):
        Identity.load(EdgeHome(region.edge_root))
