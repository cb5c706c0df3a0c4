"""Step 2: which proxy a canonical path names, and whether its target takes such a path.

It must never fall back to another proxy: an unknown name is 404, a broken proxy 503.
"""

from __future__ import annotations

from models.errors import PolicyUnavailable, ProxyUnknown, RequestMalformed
from models.policy import BrokenProxy, CompiledPolicy, CompiledProxy

_PREFIX = b"/api/"


def find(policy: CompiledPolicy, path: bytes) -> tuple[CompiledProxy, bytes]:
    """The proxy and the path after its name (`/` when there is none).

    path: canonical, `/api/{proxyId or alias}/{target path}`. Raises ProxyUnknown, PolicyUnavailable when
    the proxy could not be compiled, RequestMalformed for `%2F` and `//` where the target is strict.
    """
    if path[:5] != _PREFIX:
        raise ProxyUnknown("not under /api/")
    end = path.find(b"/", 5)
    name, rest = (path[5:], b"/") if end < 0 else (path[5:end], path[end:])
    proxy = policy.proxies.get(name)
    if proxy is None:
        if b"%2F" in path or b"//" in path:
            # No target was found that could allow it: the stricter reading holds.
            raise RequestMalformed("ambiguous separators in the path")
        raise ProxyUnknown("no such proxy")
    if isinstance(proxy, BrokenProxy):
        raise PolicyUnavailable(proxy.reason)
    if proxy.target.strict_path and (b"%2F" in rest or b"//" in rest):
        raise RequestMalformed("ambiguous separators in the path")
    return proxy, rest
