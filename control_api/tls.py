"""What the control API's own TLS is served with. Nothing here opens a port."""

from __future__ import annotations

import ssl
from pathlib import Path

from models.errors import ConfigurationError


def server_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """TLS 1.2 or newer, HTTP/1.1 only; None for plain HTTP. Raises ConfigurationError naming the setting."""
    if certificate is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])

    def refuse_password() -> str:
        raise ConfigurationError(
            f"{key} is encrypted; give a key without a pass phrase", field="EXEAT_TLS_KEY"
        )

    try:
        context.load_cert_chain(certificate, key, refuse_password)
    except ssl.SSLError as error:
        mismatch = "MISMATCH" in (error.reason or "")
        what = "do not belong together" if mismatch else "are not a PEM certificate and key"
        raise ConfigurationError(f"{certificate} and {key} {what}", field="EXEAT_TLS_CERTIFICATE") from None
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", field="EXEAT_TLS_CERTIFICATE") from None
    return context
