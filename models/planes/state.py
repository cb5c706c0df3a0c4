"""The policy of one region as signed state: documents, and a manifest that vouches for all of them at once.

Whoever holds documents and manifest can verify them with the control plane's public key alone: nothing can be
left out, added, reordered or taken back unnoticed. Values and pure functions; nothing here compiles or stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

import msgspec

from models.custody.signing import Signed, Verifier
from models.errors import StateRefused

MANIFEST = "manifest"
"""Purpose of the signature of a manifest."""


class Document(msgspec.Struct, frozen=True):
    """One resource as the edge needs it.

    kind: `credential`, `target` or `proxy`. text: its JSON, byte for byte as it was signed. revision: of the
    last change that touched it or one of its rules.
    """

    kind: str
    id: str
    revision: int
    text: bytes


class Manifest(msgspec.Struct, frozen=True):
    """What the control plane signs: this region, at this revision, is these documents.

    revision: place in the change log of the last change that touched the region; 0 before the first. root: `root` of all documents.
    issued_ms: wall time, milliseconds; a manifest is issued anew with every answer of the feed, so that its
    age bounds how long ago the control plane was heard.
    """

    region: str
    revision: int
    root: str
    issued_ms: int


class Delta(msgspec.Struct, frozen=True):
    """What leads from the state at `base` to that of the manifest; base 0 is the empty state."""

    base: int
    upserts: tuple[Document, ...]
    deletes: tuple[tuple[str, str], ...]
    manifest: Signed


def root(documents: Iterable[Document]) -> str:
    """SHA-256 in hex over one line per document, sorted: kind, id, revision and digest of the text."""
    lines = sorted(
        b"%b\0%b\0%d\0%b\n"
        % (one.kind.encode(), one.id.encode(), one.revision, sha256(one.text).hexdigest().encode())
        for one in documents
    )
    return sha256(b"".join(lines)).hexdigest()


def read_manifest(signed: Signed, verifier: Verifier, region: str) -> Manifest:
    """The manifest, once its signature and region hold. Raises StateRefused, SignatureRefused."""
    manifest = msgspec.json.decode(verifier.verify(MANIFEST, signed), type=Manifest)
    if manifest.region != region:
        raise StateRefused(f"manifest is of region {manifest.region}, not {region}")
    return manifest


class RegionState:
    """All documents of a region at one verified revision; immutable, `apply` gives the next one."""

    __slots__ = ("documents", "manifest", "region", "signed")

    def __init__(
        self,
        region: str,
        documents: Mapping[tuple[str, str], Document],
        manifest: Manifest | None,
        signed: Signed | None,
    ) -> None:
        """documents: by (kind, id). Use `empty` and `apply`; this does not verify."""
        self.region, self.documents = region, documents
        self.manifest, self.signed = manifest, signed

    @classmethod
    def empty(cls, region: str) -> RegionState:
        """No document, no manifest: what a region holds before it heard the control plane."""
        return cls(region, {}, None, None)

    @property
    def revision(self) -> int:
        """The revision of the manifest; -1 before the first one."""
        return -1 if self.manifest is None else self.manifest.revision

    @property
    def issued_ms(self) -> int:
        """When the control plane last vouched for this state; 0 if never."""
        return 0 if self.manifest is None else self.manifest.issued_ms

    def apply(self, delta: Delta, verifier: Verifier) -> RegionState:
        """The state after `delta`, verified whole.

        Raises SignatureRefused for a bad signature; StateRefused when the delta starts elsewhere, goes back
        behind this state, or does not give the root that was signed. This state stays as it is.
        """
        manifest = read_manifest(delta.manifest, verifier, self.region)
        if manifest.revision < self.revision:
            raise StateRefused(f"revision {manifest.revision} is older than {self.revision}")
        if delta.base not in (0, self.revision):
            raise StateRefused(f"delta starts at {delta.base}, not at {self.revision}")
        documents = dict(self.documents) if delta.base else {}
        for kind, one in delta.deletes:
            documents.pop((kind, one), None)
        for document in delta.upserts:
            documents[document.kind, document.id] = document
        if root(documents.values()) != manifest.root:
            raise StateRefused("documents do not give the root that was signed")
        return RegionState(self.region, documents, manifest, delta.manifest)

    def refresh(self, signed: Signed, verifier: Verifier) -> RegionState:
        """The same documents under a manifest issued later. Raises as `apply`; an earlier issue changes nothing."""
        manifest = read_manifest(signed, verifier, self.region)
        if self.manifest is None or manifest.revision != self.revision or manifest.root != self.manifest.root:
            raise StateRefused("manifest is of another state")
        if manifest.issued_ms <= self.issued_ms:
            return self
        return RegionState(self.region, self.documents, manifest, signed)

    def full(self) -> Delta:
        """The delta from nothing to this state. Raises StateRefused before the first manifest."""
        if self.signed is None:
            raise StateRefused("there is no state yet")
        return Delta(0, tuple(self.documents.values()), (), self.signed)
