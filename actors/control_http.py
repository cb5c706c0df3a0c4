"""HTTP to the control API as a region: its key on every request, nothing of it anywhere else, every answer bounded.

Whatever goes wrong on the way is `PeerUnavailable`, whose text quotes neither the key nor what came back. What an
answer means is its caller's to judge.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final

import httpx

from models.errors import PeerUnavailable
from models.planes.feed import MEDIA
from models.secret import Secret

_KEY: Final = re.compile(rb"[!-~]{1,512}")


class ControlHttp:
    """The control API as one region sees it; made inside the loop that uses it."""

    def __init__(
        self,
        control_url: str,
        region: str,
        key: Callable[[], Secret],
        *,
        timeout: float,
        connections: int = 4,
    ) -> None:
        """control_url: without `/v1`. key: reads the region key, anew for every call, so that it can be changed.

        timeout: seconds of silence, unless a call says otherwise.
        """
        self._path, self._key, self._timeout = f"/v1/regions/{region}", key, timeout
        self._client = httpx.AsyncClient(
            base_url=control_url,
            trust_env=False,
            follow_redirects=False,
            timeout=timeout,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def get(
        self, name: str, query: Mapping[str, str], *, longest: int, seconds: float, silence: float
    ) -> tuple[int, bytes]:
        """Status and body of a GET of the region's resource `name`.

        longest: bytes of the body; seconds: for all of it; silence: seconds without a byte. Raises PeerUnavailable.
        """
        timeout = httpx.Timeout(self._timeout, read=silence)
        request = self._client.build_request(
            "GET", f"{self._path}/{name}", params=dict(query), headers=self._headers(), timeout=timeout
        )
        return await self._send(request, longest, seconds)

    async def post(self, name: str, body: bytes, *, longest: int, seconds: float) -> tuple[int, bytes]:
        """Status and body of a POST of JSON, as of `get`. Raises PeerUnavailable."""
        headers = {**self._headers(), b"Content-Type": MEDIA.encode()}
        request = self._client.build_request("POST", f"{self._path}/{name}", content=body, headers=headers)
        return await self._send(request, longest, seconds)

    async def close(self) -> None:
        """Ends all connections."""
        await self._client.aclose()

    def _headers(self) -> dict[bytes, bytes]:
        try:
            key = self._key().reveal()
        except OSError as error:
            raise PeerUnavailable(f"the region key cannot be read ({type(error).__name__})") from None
        if not _KEY.fullmatch(key):  # else the HTTP library says so, and quotes it
            raise PeerUnavailable("the region key has characters that no key has")
        return {b"Authorization": key, b"Accept": MEDIA.encode(), b"Accept-Encoding": b"identity"}

    async def _send(self, request: httpx.Request, longest: int, seconds: float) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(seconds):
                answer = await self._client.send(request, stream=True)
                try:
                    return answer.status_code, await _body(answer, longest)
                finally:
                    await answer.aclose()
        except (httpx.HTTPError, OSError) as error:
            # Only its type: the text of some quotes header values.
            raise PeerUnavailable(f"the control API cannot be reached ({type(error).__name__})") from None


async def _body(answer: httpx.Response, longest: int) -> bytes:
    pieces, size = [], 0
    async for piece in answer.aiter_bytes():
        size += len(piece)
        if size > longest:
            raise PeerUnavailable("the answer is too long")
        pieces.append(piece)
    return b"".join(pieces)
