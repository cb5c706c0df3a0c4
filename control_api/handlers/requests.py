"""Requests: the records of a client, or of one of its proxies, as they were written down at the edge.

A proxy that was deleted is not found any more; its records stay, under its client, as long as records are kept.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from control_api.answers import SUCCESS
from control_api.bodies import LIMIT_DEFAULT, LIMIT_MAX, bad_cursor, moment, whole
from control_api.call import Answer, Call
from control_api.kinds import PROXY
from control_api.records.query import Wanted
from control_api.writing import owned
from models.errors import Invalid, NotFound
from models.ids import RESOURCE_ID
from models.record import UNKNOWN

_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_STATUS: Final = re.compile(r"[1-9][0-9]{2}")


async def list_all(call: Call) -> Answer:
    """GET …/requests."""
    query = call.query
    limit = whole(query, "limit", LIMIT_DEFAULT, least=1, most=LIMIT_MAX)
    after = moment(query, "processedAfter")
    wanted = Wanted(
        client_id=call.params["clientId"],
        proxy_id=proxy_of(call),
        status=_status(query.get("status")),
        code=_text(call, "code", _CODE, "must be the code of an answer such as rule-denied"),
        credential_id=_text(call, "credentialId", RESOURCE_ID, "must be the id of a credential"),
        from_ms=None if after is None else after + 1,
        until_ms=moment(query, "processedBefore"),
    )
    try:
        found = await call.services.records.find(wanted, cursor=query.get("cursor"), limit=limit)
    except ValueError:
        raise bad_cursor() from None
    return Answer(200, _envelope(found.lines, found.cursor))


async def read(call: Call) -> Answer:
    """GET …/requests/{requestId}."""
    proxy_id, request_id = proxy_of(call), call.params["requestId"]
    line = None
    if RESOURCE_ID.match(request_id):
        line = await call.services.records.get(call.params["clientId"], proxy_id, request_id)
    if line is None:
        raise NotFound("There is no such request")
    return Answer(200, _envelope((line,), None))


def proxy_of(call: Call) -> str | None:
    """The proxy in the path; None where the path is the client's. Raises NotFound."""
    proxy_id = call.params.get("proxyId")
    return None if proxy_id is None else owned(call, call.projection, PROXY, proxy_id).id


def _envelope(lines: tuple[bytes, ...], cursor: str | None) -> bytes:
    """As answers.envelope; records are JSON already."""
    more = b"" if cursor is None else b',"nextCursor":' + orjson.dumps(cursor)
    return b'{"requests":[%b],"message":"%b"%b}' % (b",".join(lines), SUCCESS.encode(), more)


def _status(text: str | None) -> int | str | None:
    if text is None or text == UNKNOWN:
        return text
    if not _STATUS.fullmatch(text):
        raise _refused("status", f"must be a status from 100 to 999, or {UNKNOWN}")
    return int(text)


def _text(call: Call, name: str, pattern: re.Pattern[str], message: str) -> str | None:
    text = call.query.get(name)
    if text is not None and not pattern.fullmatch(text):
        raise _refused(name, message)
    return text


def _refused(name: str, message: str) -> Invalid:
    return Invalid("A query parameter cannot be accepted", errors=((name, message),))
