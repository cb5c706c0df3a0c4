"""Enrolled hosts as files, and nonces that serve once."""

from __future__ import annotations

import os

import pytest

from actors.vault.core import VaultCore
from actors.vault.hosts import EnrolledHosts, Nonces
from models.custody.signing import Signer
from models.errors import CapabilityRefused, SignatureRefused
from tests.kit.vault import HOST, HOST_ID, VaultKit, target_secret, wanted

OTHER = Signer(Signer.new_private())


async def test_enrolment_counts_from_the_next_question_on(kit: VaultKit, core: VaultCore) -> None:
    """A new host is known, a new key replaces the old one, a removed host is a stranger; without a restart."""
    await kit.keep(core, "cred_t", 1, target_secret())
    later = kit.home.hosts / "host-2.pub"
    with pytest.raises(CapabilityRefused):
        await core.grant(kit.capability(wanted(), host_id="host-2", signer=OTHER))
    later.write_text(OTHER.public.hex())
    assert (await core.grant(kit.capability(wanted(), host_id="host-2", signer=OTHER))).grants[0].sealed
    later.write_text(HOST.public.hex() + "\n")
    with pytest.raises(SignatureRefused):
        await core.grant(kit.capability(wanted(), host_id="host-2", signer=OTHER))
    later.unlink()
    with pytest.raises(CapabilityRefused):
        await core.grant(kit.capability(wanted(), host_id="host-2"))


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab" * 31, "ab" * 33])
def test_a_key_that_cannot_be_read_enrols_nobody(kit: VaultKit, text: str) -> None:
    """And does not stop others."""
    hosts = EnrolledHosts(kit.home.hosts)
    (kit.home.hosts / "bad.pub").write_text(text)
    with pytest.raises(CapabilityRefused):
        hosts.verifier("bad")
    assert hosts.verifier(HOST_ID).public == HOST.public


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../hosts/host-1", "a\0b", "a" * 200, "host-1.pub"])
def test_a_host_is_a_name_and_no_path(kit: VaultKit, name: str) -> None:
    """Nothing outside the directory is ever read for a key."""
    (kit.home.root / "outside.pub").write_text(OTHER.public.hex())
    with pytest.raises(CapabilityRefused):
        EnrolledHosts(kit.home.hosts).verifier(name)


def test_an_unchanged_key_is_read_once(kit: VaultKit) -> None:
    """The same object again, until the file's stamp is another."""
    hosts = EnrolledHosts(kit.home.hosts)
    first = hosts.verifier(HOST_ID)
    assert hosts.verifier(HOST_ID) is first
    os.utime(kit.home.hosts / f"{HOST_ID}.pub", ns=(1, 1))
    assert hosts.verifier(HOST_ID) is not first


def test_a_nonce_is_free_again_after_its_time() -> None:
    """Until then it is used; another host's are its own."""
    nonces = Nonces()
    nonces.use("a", b"n", 1000, 0)
    nonces.use("b", b"n", 1000, 0)
    with pytest.raises(CapabilityRefused):
        nonces.use("a", b"n", 2000, 999)
    nonces.use("a", b"n", 2000, 1000)


def test_a_flood_is_refused_and_forgets_nothing() -> None:
    """A full memory makes room only of what is past its time, and one host's flood is not another's."""
    nonces = Nonces(most=4)
    for one in range(4):
        nonces.use("a", bytes([one]), 1000 + one, 0)
    with pytest.raises(CapabilityRefused, match="too many"):
        nonces.use("a", b"new", 2000, 500)
    with pytest.raises(CapabilityRefused, match="before"):
        nonces.use("a", b"\x03", 2000, 500)
    nonces.use("b", b"new", 2000, 500)
    nonces.use("a", b"new", 2000, 1000)
    with pytest.raises(CapabilityRefused, match="before"):
        nonces.use("a", b"\x03", 2000, 1000)
