"""One call over HTTP: the token put on it, the answer read, what may be repeated repeated, failures made safe.

The token is in no error and no log line; no cookie is kept, nothing is read from the environment, and no
redirect is followed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from models.secret import Secret
from sdk.errors import ApiProblem, ApiUnreachable, FieldProblem, UnexpectedAnswer

MASK: Final = "**********"
IDLE_SECONDS: Final = 2.0
"""A connection idle for longer is not used again: a write on one that the server just closed could not be repeated."""

_TOKEN: Final = re.compile(rb"[\x21-\x7e]{1,512}")
_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_PATH: Final = re.compile(r"/[A-Za-z0-9/_.~%:@-]*")
_PASSING: Final = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call that is safe to repeat is made, in all; pauses in seconds, doubling from `first` to `most`."""

    attempts: int = 3
    first: float = 0.1
    most: float = 2.0

    def pause(self, attempt: int, asked: str | None, share: float) -> float:
        """Before the attempt after `attempt` (from 1). asked: the server's Retry-After. share: of chance, 0 to 1."""
        pause: float = min(self.most, self.first * 2.0 ** (attempt - 1))
        if asked is not None and asked.isascii() and asked.isdigit():
            return min(self.most, max(pause, float(asked[:6])))
        return pause * (0.5 + share / 2)


@dataclass(frozen=True, slots=True)
class Change:
    """A write's place in the change log. propagation: `applied` when its regions had it, else `pending`."""

    revision: int
    propagation: str

    @property
    def applied(self) -> bool:
        """Whether the regions' registries had it when the answer was given."""
        return self.propagation == "applied"


@dataclass(frozen=True, slots=True)
class Reply:
    """A success. data: the JSON object, None without a body; it may hold a secret that is shown once."""

    status: int
    data: Mapping[str, Any] | None = field(repr=False)
    change: Change | None = None


class _Token(httpx.Auth):
    def __init__(self, token: Secret) -> None:
        self.token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self.token.reveal().decode("ascii")
        yield request


class Wire:
    """Calls under one base URL with one token. timeout: seconds of one attempt. chance: 0 to 1, for pauses."""

    def __init__(
        self,
        base_url: str,
        token: Secret | str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 30.0,
        retry: Retry | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Raises ValueError for a URL or token that cannot be used; the message repeats neither."""
        self.base_url = check_base_url(base_url)
        self._token = token if isinstance(token, Secret) else Secret(token)
        if not _TOKEN.fullmatch(self._token.reveal()):
            raise ValueError("a token is one word of printable ASCII")
        self._timeout, self._retry, self._chance = timeout, retry or Retry(), chance
        _quiet()
        self._http = httpx.AsyncClient(
            auth=_Token(self._token),
            headers={"Accept": "application/json", "User-Agent": "exeat-sdk"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            transport=transport,
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
        )

    async def close(self) -> None:
        """Lets go of all connections; twice is fine."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        query: Mapping[str, str | int] | None = None,
        if_match: int | None = None,
        idempotency_key: str | None = None,
        repeat: bool = True,
        accept: Collection[int] = (),
    ) -> Reply:
        """The answer, if it is a success. Raises ApiProblem, ApiUnreachable, UnexpectedAnswer, ValueError.

        path: below the base URL, begins with `/`, escaped. body: JSON values, or bytes to send as they are.
        repeat: False for a call that is never made twice, whatever its method. accept: further statuses that
        are answers here, not problems.
        """
        if not _PATH.fullmatch(path):
            raise ValueError("a path begins with / and is escaped")
        headers = _headers(if_match, idempotency_key)
        content = body if body is None or isinstance(body, bytes) else _json(body)
        if content is not None:
            headers["Content-Type"] = "application/json"
        safe = repeat and (method == "GET" or (method == "POST" and idempotency_key is not None))
        for attempt in range(1, (self._retry.attempts if safe else 1) + 1):
            response, failure = await self._attempt(method, path, query, headers, content)
            last = attempt >= self._retry.attempts or not safe
            if response is None:
                if last:
                    raise ApiUnreachable(f"{method} {path}: {failure}")
                asked = None
            elif last or response.status_code not in _PASSING:
                return self._read(response, accept)
            else:
                asked = response.headers.get("retry-after")
            await asyncio.sleep(self._retry.pause(attempt, asked, self._chance()))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        headers: Mapping[str, str],
        content: bytes | None,
    ) -> tuple[httpx.Response | None, str]:
        """The response, or the name of what failed: the exception itself refers to the request with its token."""
        url = self.base_url + path
        try:
            async with asyncio.timeout(self._timeout):
                return await self._http.request(
                    method, url, params=query, headers=headers, content=content
                ), ""
        except TimeoutError:
            return None, f"no answer within {self._timeout:g} s"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, type(error).__name__

    def _read(self, response: httpx.Response, accept: Collection[int]) -> Reply:
        data = _object(response.content)
        if response.status_code in accept and data is not None:
            return Reply(response.status_code, data)
        if response.is_success and (data is not None or not response.content):
            return Reply(response.status_code, data, _change(response.headers))
        if response.is_success or data is None or not isinstance(data.get("code"), str):
            raise UnexpectedAnswer(f"status {response.status_code} with a body that is not of the Core API")
        raise self._problem(response.status_code, data)

    def _problem(self, status: int, data: Mapping[str, Any]) -> ApiProblem:
        token = self._token.reveal().decode("ascii")

        def text(value: object) -> str:
            return value.replace(token, MASK) if isinstance(value, str) else ""

        errors = [one for one in _list(data.get("errors")) if isinstance(one, dict)]
        return ApiProblem(
            status,
            text(data["code"]),
            text(data.get("title")),
            text(data.get("detail")),
            errors=tuple(FieldProblem(text(one.get("field")), text(one.get("message"))) for one in errors),
            references=tuple(text(one) for one in _list(data.get("references"))),
            request_id=text(data.get("requestId")),
        )


def check_base_url(url: str) -> str:
    """The URL of the API's `/v1`, which is added when left out. Raises ValueError, without repeating the URL."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("the base URL must be http:// or https:// with a host")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("the base URL must have no user, query or fragment")
    plain = url.rstrip("/")
    return plain if plain.endswith("/v1") else f"{plain}/v1"


def _quiet() -> None:
    """The HTTP library logs URLs at INFO and headers at DEBUG; neither belongs in an application's log."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)


def _headers(if_match: int | None, idempotency_key: str | None) -> dict[str, str]:
    headers = {}
    if if_match is not None:
        headers["If-Match"] = f'"{if_match:d}"'
    if idempotency_key is not None:
        if not _KEY.fullmatch(idempotency_key):
            raise ValueError("an Idempotency-Key has 1 to 255 printable ASCII characters")
        headers["Idempotency-Key"] = idempotency_key
    return headers


def _json(body: Mapping[str, Any]) -> bytes:
    failure = ""
    try:
        return orjson.dumps(dict(body))
    except TypeError as error:
        failure = str(error)
    raise ValueError(f"the body cannot be written as JSON: {failure}")


def _object(content: bytes) -> Mapping[str, Any] | None:
    try:
        data = orjson.loads(content)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _change(headers: httpx.Headers) -> Change | None:
    revision = headers.get("exeat-revision", "")
    if not (revision.isascii() and revision.isdigit() and len(revision) < 20):
        return None
    return Change(int(revision), headers.get("exeat-propagation", "pending"))
