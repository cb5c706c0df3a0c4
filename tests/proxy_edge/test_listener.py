"""The listening socket, bound for real; failures name the setting to change."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from models.errors import ConfigurationError
from proxy_edge import listener
from proxy_edge.settings import EdgeSettings


def bound(**options: Any) -> socket.socket:
    """A listener on a free port, unless `options` say otherwise."""
    return listener.bind(EdgeSettings.load(**{"port": "0", **options}))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "http://127.0.0.1:"), ("localhost", "http://"), ("::1", "http://[::1]:")],
)
def test_callers_can_connect_at_the_url(host: str, expected: str) -> None:
    """The URL is that of the real port; a connection is accepted into the backlog."""
    with bound(host=host) as sock:
        assert not sock.getblocking()
        url = listener.url(EdgeSettings.load(host=host), sock)
        assert url.startswith(expected)
        with socket.create_connection((host, int(url.rpartition(":")[2])), timeout=5.0):
            pass


def test_taken_port_is_named_with_the_setting_it_came_from() -> None:
    """EXEAT_PORT where a port was given, else EXEAT_PORT_BASE."""
    with bound() as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"EXEAT_PORT: 127.0.0.1:{port} is already in use"):
            bound(port=port)
        with pytest.raises(ConfigurationError, match=r"EXEAT_PORT_BASE: .* already in use"):
            bound(port=None, port_base=port - 1)


def test_port_is_free_again_at_once() -> None:
    """A connection in TIME_WAIT does not keep the next edge from its port."""
    with bound() as sock:
        port = sock.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as caller:
            sock.setblocking(True)
            accepted, _ = sock.accept()
            accepted.close()
            assert caller.recv(1) == b""
    bound(port=port).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "300.1.1.1", "a" * 70])
def test_foreign_address_is_named(host: str) -> None:
    """An address of another machine, or of none."""
    with pytest.raises(ConfigurationError, match=r"EXEAT_HOST: .* no address of this machine"):
        bound(host=host, insecure_bind="true")
