"""The listening socket, bound once and inherited by every worker.

It is bound before the first fork and held until the edge stops, so that a killed worker costs its own
requests and never a refused connection. Every failure names the address and the setting to change.
"""

from __future__ import annotations

import errno
import socket

from models.errors import ConfigurationError
from models.setting_types import variable
from proxy_edge.settings import EdgeSettings

BACKLOG = 4096


def bind(settings: EdgeSettings) -> socket.socket:
    """A non-blocking TCP socket, listening at the settings' host and port.

    Raises ConfigurationError: unknown host, address not of this machine, port taken or privileged.
    """
    host, port = settings.host, settings.listen_port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigurationError(f"{host} is no address of this machine", field=variable("host")) from None
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _refusal(settings, error) from None
    return listener


def url(settings: EdgeSettings, listener: socket.socket) -> str:
    """Where callers reach the listener, for example `http://127.0.0.1:7701`."""
    host, port = listener.getsockname()[:2]
    return f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _refusal(settings: EdgeSettings, error: OSError) -> ConfigurationError:
    host, port = settings.host, settings.listen_port
    where = variable("port_base" if settings.port is None else "port")
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(f"{host}:{port} is already in use", field=where)
    if error.errno == errno.EACCES:
        return ConfigurationError(f"{host}:{port} needs privileges this process lacks", field=where)
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigurationError(f"{host} is no address of this machine", field=variable("host"))
    return ConfigurationError(
        f"{host}:{port} cannot be listened on: {error.strerror}", field=variable("host")
    )
