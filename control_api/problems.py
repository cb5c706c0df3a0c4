"""Every failure as the problem it is answered with (RFC 9457, API.md section 2 `Errors`).

Pure. Only what an error class declares public goes in; an exception that is none of ours becomes a 500 that says
nothing, and its cause is the log's alone.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import orjson
from sanic.exceptions import MethodNotAllowed, PayloadTooLarge, SanicException
from sanic.exceptions import NotFound as NoRoute

from control_api.routes.table import BODY_MAX
from models.errors import (
    ApiError,
    Conflict,
    Invalid,
    NotFound,
    StoreError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

MEDIA: Final = "application/problem+json"
_CODES: Final = {400: "not-json", 408: "request-timeout", 413: TooLarge.code, 431: "request-head-too-large"}
_DETAILS: Final = {
    400: "The request is not well-formed HTTP",
    408: "The request took too long to arrive",
    431: "The request head is too large",
    503: "The request took too long",
}

NO_ROUTE: Final = "There is no such route"


def as_api_error(error: BaseException) -> ApiError | None:
    """The API's own error for `error`; None when it is neither one nor has one."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, (NoRoute, MethodNotAllowed)):
        return NotFound(NO_ROUTE)
    if isinstance(error, PayloadTooLarge) and not _about_head(error):
        return TooLarge(f"The body is longer than {BODY_MAX} bytes")
    if isinstance(error, StoreError):
        return Unavailable(
            "The store is not available; the request is safe to repeat with an Idempotency-Key"
        )
    return None


def status_of(error: BaseException) -> int:
    """The HTTP status `error` is answered with."""
    known = as_api_error(error)
    if known is not None:
        return known.status
    if isinstance(error, PayloadTooLarge):
        return 431
    if isinstance(error, SanicException) and error.status_code in {400, 408, 417, 503}:
        return error.status_code
    return 500


def _about_head(error: PayloadTooLarge) -> bool:
    return str(error).startswith("Request header")  # Sanic has one class for both


def problem(error: BaseException, request_id: str) -> dict[str, Any]:
    """The body for `error`."""
    known = as_api_error(error)
    if known is None:
        status = status_of(error)
        code = _CODES.get(status, Unavailable.code if status == Unavailable.status else ApiError.code)
        title = HTTPStatus(status).phrase
        detail = _DETAILS.get(status, "The request could not be handled")
        return _document(status, code, title, detail, request_id)
    document = _document(known.status, known.code, known.title, known.public or known.title, request_id)
    if isinstance(known, Invalid):
        document["errors"] = [{"field": field, "message": message} for field, message in known.errors]
    if isinstance(known, Conflict) and known.references:
        document["references"] = list(known.references)
    return document


def headers(error: BaseException) -> dict[str, str]:
    """Header fields that go with the problem."""
    known = as_api_error(error)
    if isinstance(known, Unauthenticated):
        return {"www-authenticate": 'Bearer realm="exeat"'}  # RFC 9110 section 15.5.2 asks for one
    return {"retry-after": "1"} if isinstance(known, Unavailable) else {}


def dump(document: dict[str, Any]) -> bytes:
    """`document` as JSON."""
    return orjson.dumps(document)


def _document(status: int, code: str, title: str, detail: str, request_id: str) -> dict[str, Any]:
    return {
        "type": f"urn:exeat:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "requestId": request_id,
    }
