"""The checked dialler over TLS: names and addresses are verified, old versions and stalled handshakes refused."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme

from models.errors import ConfigurationError, TargetUnreachable
from proxy_edge.dialler import Dialler, TlsIdentity
from tests.proxy_edge.dialling import LOOPBACK, Listener, Names, Recorder, Run, finished


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.mark.parametrize("name", ["a.example", "127.0.0.1"])
def test_tls_with_the_targets_authority_connects(on_loop: Run, authority: trustme.CA, name: str) -> None:
    """Name and address are verified against targetCA; HTTP/1.1 over at least TLS 1.2 is agreed."""

    async def scenario() -> None:
        async with Listener("127.0.0.1", tls=server_context(authority, name)) as server:
            dialler = Dialler(LOOPBACK, Names(["127.0.0.1"]))
            identity = TlsIdentity(name, pem(authority))
            transport, protocol, _ = await dialler.open(name, server.port, Recorder, identity)
            session = transport.get_extra_info("ssl_object")
            assert session.selected_alpn_protocol() == "http/1.1"
            assert session.version() in {"TLSv1.2", "TLSv1.3"}
            assert await finished(transport, protocol) == b"127.0.0.1"

    on_loop(scenario())


@pytest.mark.parametrize(
    "case", ["other authority", "system roots", "other name", "other address", "common name"]
)
def test_tls_that_cannot_be_verified_is_an_unreachable_target(
    on_loop: Run, authority: trustme.CA, case: str
) -> None:
    """A wrong chain or a wrong name ends the connection before a byte of ours is sent."""
    names = {"other name": "b.example", "other address": "127.0.0.9"}
    context = server_context(authority, names.get(case, "a.example"))
    if case == "common name":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("b.example", common_name="a.example").configure_cert(context)
    roots = {"other authority": pem(trustme.CA()), "system roots": None}
    identity = TlsIdentity(
        "127.0.0.1" if case == "other address" else "a.example", roots.get(case, pem(authority))
    )

    async def scenario() -> None:
        async with Listener("127.0.0.1", tls=context) as server:
            dialler = Dialler(LOOPBACK, Names(["127.0.0.1"]))
            with pytest.raises(TargetUnreachable) as caught:
                await dialler.connect("127.0.0.1", server.port, Recorder, tls=identity)
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
            assert server.kept == []

    on_loop(scenario())


def test_tls_older_than_1_2_is_an_unreachable_target(on_loop: Run, authority: trustme.CA) -> None:
    """A server that offers TLS 1.1 at best is refused."""
    context = server_context(authority, "a.example")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    async def scenario() -> None:
        async with Listener("127.0.0.1", tls=context) as server:
            dialler = Dialler(LOOPBACK, Names(["127.0.0.1"]))
            with pytest.raises(TargetUnreachable):
                await dialler.connect(
                    "127.0.0.1", server.port, Recorder, tls=TlsIdentity("a.example", pem(authority))
                )

    on_loop(scenario())


def test_a_handshake_that_stalls_or_is_no_tls_is_an_unreachable_target(
    on_loop: Run, authority: trustme.CA
) -> None:
    """The connect timeout covers the handshake, and plain bytes in its place are an error like any other."""
    identity = TlsIdentity("a.example", pem(authority))

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            dialler = Dialler(LOOPBACK, Names(["127.0.0.1"]), connect_timeout=0.1)
            with pytest.raises(TargetUnreachable, match="timed out"):
                await dialler.open("a.example", mute.getsockname()[1], Recorder, identity)
        async with Listener("127.0.0.1") as plain:
            dialler = Dialler(LOOPBACK, Names(["127.0.0.1"]))
            with pytest.raises(TargetUnreachable):
                await dialler.open("a.example", plain.port, Recorder, identity)

    on_loop(scenario())


@pytest.mark.parametrize(
    "ca", ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_an_unusable_authority_is_a_configuration_error(on_loop: Run, ca: str) -> None:
    """A targetCA without a usable certificate is named as such, and never falls back to other roots."""
    with pytest.raises(ConfigurationError) as caught:
        _ = TlsIdentity("a.example", ca).context
    assert caught.value.field == "targetCA"

    async def scenario() -> None:
        async with Listener("127.0.0.1") as server:
            with pytest.raises(TargetUnreachable):
                await Dialler(LOOPBACK).connect(
                    "127.0.0.1", server.port, Recorder, tls=TlsIdentity("a.example", ca)
                )

    on_loop(scenario())


def test_contexts_are_built_once_per_authority_and_always_verify(authority: trustme.CA) -> None:
    """Names share the context of their authority; another authority has another; none is lax."""
    ours, system = TlsIdentity("a.example", pem(authority)), TlsIdentity("a.example")
    assert ours.context is TlsIdentity("b.example", pem(authority)).context
    assert ours.context is not system.context
    assert ours == TlsIdentity("a.example", pem(authority))
    for context in (ours.context, system.context):
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
