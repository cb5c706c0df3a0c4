"""Keys of a home: made once, each where it belongs, refused when they do not fit."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from models.custody.signing import Signer
from models.errors import ConfigurationError
from models.home import Home
from models.secret import Secret
from scripts.up import enrol

REGIONS = ("a", "b")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with the keys of two regions."""
    found = Home(tmp_path / "home")
    enrol.make_keys(found, REGIONS)
    return found


def test_every_file_is_there_and_private(home: Home) -> None:
    """Directories 700; files 600, but for the public half that anybody may see."""
    for path in home.root.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == 0o700 if path.is_dir() else mode in {0o600, 0o644}, path
        assert mode != 0o644 or path.suffix == ".pub", path
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_public_halves_are_pinned_where_they_are_needed(home: Home) -> None:
    """Control plane's in region and edge, vault's in the edge, host's in the region."""
    control = home.policy_public.read_text().strip()
    assert Signer(Secret(bytes.fromhex(home.policy_key.read_text()))).public.hex() == control
    for region in REGIONS:
        mine, edge = home.region(region), home.edge(region)
        assert mine.control_public.read_text() == edge.control_public.read_text() == control
        vault = Signer(Secret(bytes.fromhex(mine.vault_key.read_text()))).public
        assert mine.vault_public.read_text() == edge.vault_public.read_text() == vault.hex()
        assert enrol.vault_public(mine) == vault
        host = Signer(Secret(bytes.fromhex(edge.host_key.read_text()))).public.hex()
        assert (mine.hosts / f"{edge.host_id.read_text()}.pub").read_text() == host
        assert enrol.region_key(mine).reveal().startswith(b"r-")


def test_no_two_secrets_are_equal(home: Home) -> None:
    """Each key is its own, in each region."""
    secret = [
        home.policy_key.read_text().strip(),
        home.ray_token.read_text(),
        *(home.region(region).vault_kek.read_text() for region in REGIONS),
        *(home.region(region).vault_key.read_text() for region in REGIONS),
        *(home.region(region).key.read_text() for region in REGIONS),
        *(home.edge(region).host_key.read_text() for region in REGIONS),
    ]
    assert len(set(secret)) == len(secret) == 10


def test_nothing_is_overwritten_and_regions_are_added_in_order(home: Home) -> None:
    """The same again, and one more region: what was there stays as it was."""
    before = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}
    enrol.make_keys(home, ("c", "b"))
    assert enrol.known_regions(home) == ("a", "b", "c")
    order = home.root / "regions.json"
    assert all(path.read_bytes() == content for path, content in before.items() if path != order)


def test_a_new_home_knows_no_region(tmp_path: Path) -> None:
    """Before anything was made."""
    assert enrol.known_regions(Home(tmp_path)) == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("regions/a/vault.pub", "00" * 32),
        ("edges/a/control.pub", "nonsense"),
        ("regions/a/vault.key", "nonsense"),
        ("control/policy.key", "short"),
        ("edges/a/host.id", "../../x"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(home: Home, name: str, content: str) -> None:
    """The error names the file and never quotes it."""
    path = home.root / name
    path.write_text(content)
    with pytest.raises(ConfigurationError) as refused:
        enrol.make_keys(home, REGIONS)
    assert str(path) in str(refused.value)
    assert content not in str(refused.value)


def test_a_key_that_others_can_read_is_refused(home: Home) -> None:
    """Going on would make a leak permanent."""
    path = home.region("a").vault_key
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod"):
        enrol.make_keys(home, REGIONS)


@pytest.mark.parametrize("content", ["", "u-wrong", "r-short"])
def test_a_region_key_that_is_none_is_refused(home: Home, content: str) -> None:
    """Before it is told to the control plane."""
    home.region("a").key.write_text(content)
    with pytest.raises(ConfigurationError, match="region key"):
        enrol.region_key(home.region("a"))


@pytest.mark.parametrize("content", ["{}", "[1]", '["../x"]', "["])
def test_a_broken_list_of_regions_is_refused(home: Home, content: str) -> None:
    """Ports follow it, so nothing is guessed."""
    (home.root / "regions.json").write_text(content)
    with pytest.raises(ConfigurationError, match="list of regions"):
        enrol.known_regions(home)


def test_a_lost_key_encryption_key_is_not_made_anew(home: Home) -> None:
    """Where a vault has kept something, a new key would only hide that the old one is gone."""
    region = home.region("a")
    region.vault_kek.unlink()
    region.vault_store.touch(mode=0o600)

    with pytest.raises(ConfigurationError, match="restore it from a backup"):
        enrol.make_keys(home, REGIONS)

    assert not region.vault_kek.exists()
