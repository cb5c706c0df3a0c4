"""Every failure as a problem."""

from __future__ import annotations

import pytest
from sanic.exceptions import MethodNotAllowed, NotFound, PayloadTooLarge, RequestTimeout, SanicException

from control_api.problems import headers, problem, status_of
from models import errors


def every_api_error() -> list[type[errors.ApiError]]:
    return errors.ApiError.__subclasses__()


@pytest.mark.parametrize("kind", every_api_error())
def test_each_error_of_the_api_has_its_status_and_code(kind: type[errors.ApiError]) -> None:
    """Public words only; the detail stays inside."""
    error = kind("public words", detail="inside")
    found = problem(error, "req_1")
    assert (found["status"], found["code"], found["requestId"]) == (kind.status, kind.code, "req_1")
    assert found["detail"] == "public words"
    assert "inside" not in str(found)
    assert problem(kind(), "req_1")["detail"] == kind.title


def test_codes_are_unique() -> None:
    """One code, one meaning."""
    codes = [kind.code for kind in every_api_error()]
    assert len(set(codes)) == len(codes)


def test_fields_and_references_are_listed() -> None:
    """On 422 and 409."""
    invalid = errors.Invalid("no", errors=(("a", "b"),))
    assert problem(invalid, "")["errors"] == [{"field": "a", "message": "b"}]
    conflict = errors.Conflict("no", references=("prx_1",))
    assert problem(conflict, "")["references"] == ["prx_1"]
    assert "references" not in problem(errors.Conflict("no"), "")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("x"), 404, "not-found"),
        (MethodNotAllowed("x", "PUT", ["GET"]), 404, "not-found"),
        (PayloadTooLarge("Request body exceeds the size limit"), 413, "request-too-large"),
        (PayloadTooLarge("Request header exceeds the size limit"), 431, "request-head-too-large"),
        (RequestTimeout("x"), 408, "request-timeout"),
        (SanicException("x", status_code=418), 500, "internal-error"),
        (errors.StoreUnavailable("x"), 503, "unavailable"),
        (errors.ConfigurationError("x"), 500, "internal-error"),
        (ValueError("swordfish"), 500, "internal-error"),
    ],
)
def test_foreign_errors_are_translated(error: Exception, status: int, code: str) -> None:
    """And never quoted."""
    found = problem(error, "")
    assert (status_of(error), found["status"], found["code"]) == (status, status, code)
    assert "swordfish" not in str(found)


def test_some_problems_come_with_fields() -> None:
    """401 says how to authenticate, 503 when to ask again."""
    assert "www-authenticate" in headers(errors.Unauthenticated())
    assert headers(errors.Unavailable())["retry-after"] == "1"
    assert headers(ValueError()) == {}
