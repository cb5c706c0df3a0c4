"""The registry's side of feed and uplink: HTTP to the control API, authenticated with the region's key.

Whatever comes back is bounded in size and of the declared form before anyone sees it, and is still only a claim:
signatures are the core's to check. The region key goes into the request and nowhere else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

import httpx
import msgspec

from models.errors import PeerUnavailable
from models.planes.feed import MEDIA, FeedAnswer, Uplink
from models.secret import Secret

WAIT_SECONDS: Final = 10
"""How long the control API may hold a poll; it bounds the age of the manifest while all is well."""
LONGEST_ANSWER: Final = 256 * 1024 * 1024
_LONGEST_PROBLEM: Final = 64 * 1024
_KEY: Final = re.compile(rb"[!-~]{1,512}")

_decode = msgspec.json.Decoder(FeedAnswer).decode
_encode = msgspec.json.Encoder().encode


class FeedClient:
    """Speaks with the control API of one region; made inside the loop that uses it."""

    def __init__(
        self,
        control_url: str,
        region: str,
        key: Callable[[], Secret],
        *,
        wait: int = WAIT_SECONDS,
        longest: int = LONGEST_ANSWER,
        timeout: float = 10.0,
        whole: float = 60.0,
    ) -> None:
        """control_url: without `/v1`. key: reads the region key, anew for every call, so that it can be changed.

        wait: seconds; longest: bytes of an answer; timeout: seconds of silence, and whole: seconds for all of
        an answer, both beyond `wait`.
        """
        self._path, self._key = f"/v1/regions/{region}", key
        self._wait, self._longest, self._whole = wait, longest, whole
        self._met = False
        self._poll_timeout = httpx.Timeout(timeout, read=wait + timeout)
        self._client = httpx.AsyncClient(
            base_url=control_url,
            trust_env=False,
            follow_redirects=False,
            timeout=timeout,
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=4),
        )

    async def poll(self, after: int) -> FeedAnswer:
        """What is new after a revision, -1 for everything; acknowledges that revision.

        The first answer, and the first after a failure, is not waited for: a region that was away must not
        stay on an old manifest until its poll expires.

        Raises PeerUnavailable, also for an answer that is none of ours.
        """
        wait, self._met = (self._wait if self._met else 0), False
        query = {"after": str(after), "wait": str(wait)}
        request = self._client.build_request(
            "GET", f"{self._path}/feed", params=query, headers=self._headers(), timeout=self._poll_timeout
        )
        status, body = await self._send(request, self._longest, self._wait + self._whole)
        if status != 200:
            raise PeerUnavailable(f"the feed answered {status}")
        try:
            answer = _decode(body)
        except msgspec.DecodeError:
            # Its text may quote the answer.
            raise PeerUnavailable("the feed's answer has another form") from None
        self._met = True
        return answer

    async def uplink(self, uplink: Uplink) -> None:
        """Sends what is to be known upstairs. Raises PeerUnavailable."""
        request = self._client.build_request(
            "POST",
            f"{self._path}/uplink",
            content=_encode(uplink),
            headers={**self._headers(), b"Content-Type": MEDIA.encode()},
        )
        status, _ = await self._send(request, _LONGEST_PROBLEM, self._whole)
        if status != 204:
            raise PeerUnavailable(f"the uplink answered {status}")

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
