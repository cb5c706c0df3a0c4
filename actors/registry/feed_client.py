"""The registry's side of feed and uplink: HTTP to the control API, authenticated with the region's key.

Whatever comes back is bounded in size and of the declared form before anyone sees it, and is still only a claim:
signatures are the core's to check. The region key goes into the request and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from actors.control_http import ControlHttp
from models.errors import PeerUnavailable
from models.planes.feed import FeedAnswer, Uplink
from models.secret import Secret

WAIT_SECONDS: Final = 10
"""How long the control API may hold a poll; it bounds the age of the manifest while all is well."""
LONGEST_ANSWER: Final = 256 * 1024 * 1024
_LONGEST_PROBLEM: Final = 64 * 1024

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
        """control_url, key: as of `ControlHttp`.

        wait: seconds; longest: bytes of an answer; timeout: seconds of silence, and whole: seconds for all of
        an answer, both beyond `wait`.
        """
        self._http = ControlHttp(control_url, region, key, timeout=timeout)
        self._wait, self._longest, self._timeout, self._whole = wait, longest, timeout, whole
        self._met = False

    async def poll(self, after: int) -> FeedAnswer:
        """What is new after a revision, -1 for everything; acknowledges that revision.

        The first answer, and the first after a failure, is not waited for: a region that was away must not
        stay on an old manifest until its poll expires.

        Raises PeerUnavailable, also for an answer that is none of ours.
        """
        wait, self._met = (self._wait if self._met else 0), False
        status, body = await self._http.get(
            "feed",
            {"after": str(after), "wait": str(wait)},
            longest=self._longest,
            seconds=self._wait + self._whole,
            silence=self._wait + self._timeout,
        )
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
        status, _ = await self._http.post(
            "uplink", _encode(uplink), longest=_LONGEST_PROBLEM, seconds=self._whole
        )
        if status != 204:
            raise PeerUnavailable(f"the uplink answered {status}")

    async def close(self) -> None:
        """Ends all connections."""
        await self._http.close()
