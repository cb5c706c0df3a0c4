"""An authority that tests trust, and connections over TLS that end as they should or badly."""

from __future__ import annotations

import ssl

import trustme

from tests.kit.raw import RawClient, get

AUTHORITY = trustme.CA()


def status(client: RawClient, path: str) -> int:
    client.send(get(path))
    return client.answer().status


def ended_badly(client: RawClient) -> bool:
    """Reads on; whether the connection ends with anything but a proper end."""
    try:
        while client.socket.recv(65536):
            pass
    except (ConnectionError, ssl.SSLError):
        return True
    return False
