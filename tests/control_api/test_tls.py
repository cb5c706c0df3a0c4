"""The control API's TLS files."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from control_api.tls import server_context
from models.errors import ConfigurationError


def test_a_certificate_and_its_key_are_served(tmp_path: Path) -> None:
    """TLS 1.2 or newer; none of both is plain HTTP."""
    assert server_context(None, None) is None
    issued = trustme.CA().issue_cert("localhost")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    context = server_context(certificate, key)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """Missing, not PEM, not belonging together."""
    one, other = trustme.CA().issue_cert("localhost"), trustme.CA().issue_cert("localhost")
    certificate, key, junk = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "junk"
    one.cert_chain_pems[0].write_to_path(certificate)
    other.private_key_pem.write_to_path(key)
    junk.write_text("junk")
    for pair, words in (
        ((certificate, key), "do not belong together"),
        ((junk, key), "are not a PEM certificate and key"),
        ((tmp_path / "none", key), "cannot be read"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            server_context(*pair)
        assert refused.value.field == "EXEAT_TLS_CERTIFICATE"
        assert words in refused.value.message
