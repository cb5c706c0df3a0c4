"""Step 7: the body of a request whose rules look into it. It is read whole, judged, and sent just as it was judged.

A body that cannot be judged is refused where an enforced rule wants to see it; it is never taken for one that no
rule matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from models.body_checks import Body, Watch
from models.decision import Decision
from models.errors import (
    JsonRefused,
    JsonTooLarge,
    PolicyUnavailable,
    RequestJsonTooLarge,
    RequestMalformed,
    RequestTooLarge,
)
from models.rules import Undecided

JUDGE_SECONDS = 5.0
"""How long a large body may be judged; pathological patterns over megabytes take longer."""


def check_announced(headers: Iterable[tuple[bytes, bytes]], length: int | None, most: int) -> None:
    """Whether a body as its head announces it can be judged. length: Content-Length. most: proxyMaxBodyBytes.

    Raises RequestMalformed for a content coding (RFC 9110 section 8.4), RequestTooLarge.
    """
    for name, value in headers:
        if name == b"content-encoding" and value.lower() != b"identity":
            raise RequestMalformed("content coding")
    check_size(length or 0, most)


def check_size(size: int, most: int) -> None:
    """Raises RequestTooLarge for more bytes than proxyMaxBodyBytes."""
    if size > most:
        raise RequestTooLarge(f"more than {most} bytes")


def decide(undecided: Undecided, raw: bytes, watch: Watch = lambda: None) -> Decision:
    """The decision by the whole body.

    Raises RequestMalformed for one that is not strict JSON or has more of it than is judged, and what `watch` raises.
    """
    try:
        return undecided.judge(Body(raw), watch)
    except JsonTooLarge as error:
        raise RequestJsonTooLarge(error.detail) from None
    except JsonRefused as error:
        raise RequestMalformed(error.detail) from None


def within(seconds: float, now: Callable[[], float]) -> Watch:
    """A watch that raises PolicyUnavailable once `seconds` have passed. now: seconds, never going back."""
    end = now() + seconds

    def look() -> None:
        if now() > end:
            raise PolicyUnavailable("the body was not judged in time")

    return look
