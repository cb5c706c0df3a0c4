"""Where things are in a home: paths only, so that every part and every test agrees. Touches no file."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path


class Home:
    """The layout of one home directory. Files marked secret have mode 600; directories 700."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def owner_token(self) -> Path:
        """Secret: the owner's API token, text."""
        return self.root / "owner.token"

    @property
    def control_store(self) -> Path:
        """The embedded control store (change log, projections)."""
        return self.root / "control" / "control.db"

    @property
    def records_store(self) -> Path:
        """The embedded store of request records and roll-ups: a file of its own, so that no burst delays a write."""
        return self.root / "control" / "records.db"

    @property
    def policy_key(self) -> Path:
        """Secret: the control plane's signing key, 64 hex digits."""
        return self.root / "control" / "policy.key"

    @property
    def policy_public(self) -> Path:
        """The public half of `policy_key`, 64 hex digits."""
        return self.root / "control" / "policy.pub"

    def region(self, region: str) -> RegionHome:
        """What one region's actors keep."""
        return RegionHome(self.root / "regions" / region)

    def edge(self, region: str) -> EdgeHome:
        """What the edge of a region keeps on this host."""
        return EdgeHome(self.root / "edges" / region)

    @property
    def run(self) -> Path:
        """Pid and state files of the parts, the Ray temp directory, `ray.json`."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One log file per part."""
        return self.root / "logs"

    @property
    def ray_token(self) -> Path:
        """Secret: the Ray cluster's token."""
        return self.root / "ray.token"

    @property
    def demo_token(self) -> Path:
        """Secret: the bearer token that the demo upstream takes for its own."""
        return self.root / "demo.token"

    @property
    def demo_key(self) -> Path:
        """Secret: what callers of the demo's proxies show."""
        return self.root / "demo.key"


class RegionHome:
    """One region's side: what its registry and vault read and keep. Copied to the region's hosts in production."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def key(self) -> Path:
        """Secret: the region key for feed and uplink, text `r-…`."""
        return self.root / "region.key"

    @property
    def control_public(self) -> Path:
        """The pinned public half of the control plane's policy key, 64 hex digits."""
        return self.root / "control.pub"

    @property
    def vault_kek(self) -> Path:
        """Secret: the key-encryption key, 64 hex digits; read by the vault only."""
        return self.root / "vault.kek"

    @property
    def vault_key(self) -> Path:
        """Secret: the vault's Ed25519 identity, 64 hex digits; read by the vault only."""
        return self.root / "vault.key"

    @property
    def vault_public(self) -> Path:
        """The public half of `vault_key`, pinned by edges and enrolled with the control plane."""
        return self.root / "vault.pub"

    @property
    def hosts(self) -> Path:
        """Directory of enrolled edge hosts: `{host id}.pub`, 64 hex digits each."""
        return self.root / "hosts"

    @property
    def vault_store(self) -> Path:
        """The vault's embedded store."""
        return self.root / "vault.db"

    @property
    def registry_store(self) -> Path:
        """The registry's embedded store (policy mirror)."""
        return self.root / "registry.db"

    @property
    def limiter_store(self) -> Path:
        """The limiters' embedded store (ceilings); all of a region's limiters share it."""
        return self.root / "limiter.db"


class EdgeHome:
    """One edge host's side; `root` is the `--home` of that edge's process."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def host_key(self) -> Path:
        """Secret: the host's Ed25519 key, 64 hex digits; read by workers, never by the link."""
        return self.root / "host.key"

    @property
    def host_id(self) -> Path:
        """The host's id, text."""
        return self.root / "host.id"

    @property
    def control_public(self) -> Path:
        """Pinned: the control plane's public key."""
        return self.root / "control.pub"

    @property
    def vault_public(self) -> Path:
        """Pinned: the region's vault identity."""
        return self.root / "vault.pub"

    @property
    def snapshot(self) -> Path:
        """Directory of the encrypted snapshot."""
        return self.root / "snapshot"


def short_directory(root: Path, uid: int) -> Path:
    """A directory for sockets with a path short enough for them (107 bytes), outside the home.

    root: absolute path of the home it belongs to. Whoever makes it gives it mode 700 and checks its owner.
    """
    return Path("/tmp") / f"exeat-{uid}-{blake2b(str(root).encode(), digest_size=6).hexdigest()}"  # noqa: S108 - the one short place that exists everywhere; owner and mode are checked


def link_socket(edge_root: Path, uid: int) -> Path:
    """The socket between an edge's workers and its link. edge_root: absolute path of the edge's home."""
    return short_directory(edge_root, uid) / "link.sock"
