"""What can go wrong with a call of the Core API, as three errors that are safe to show and to log.

None holds the token, a body that was sent, or an exception of the HTTP library, which would hold both.

    ExeatError
    └── CallFailed                what an application catches
        ├── ApiProblem                the API answered with a problem (RFC 9457)
        ├── ApiUnreachable            no answer; a write may or may not have happened
        └── UnexpectedAnswer          an answer that is not API.md's
"""

from __future__ import annotations

from typing import NamedTuple

from models.errors import ExeatError


class FieldProblem(NamedTuple):
    """One field that was not accepted, in API.md's names."""

    field: str
    message: str


class CallFailed(ExeatError):
    """A call that brought no success."""


class ApiProblem(CallFailed):
    """An answer of the API that is no success.

    status: of HTTP. code, title, detail: as API.md section 2. errors: field by field, on 422. references: ids that
    stand in the way, on 409. request_id: to find the request in the server's log, empty when there is none.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str = "",
        detail: str = "",
        *,
        errors: tuple[FieldProblem, ...] = (),
        references: tuple[str, ...] = (),
        request_id: str = "",
    ) -> None:
        fields = "; ".join(f"{name}: {message}" for name, message in errors)
        parts = (f"{status} {code}", detail or title, fields, ", ".join(references))
        super().__init__(" · ".join(part for part in parts if part))
        self.status, self.code, self.title, self.detail = status, code, title, detail
        self.errors, self.references, self.request_id = errors, references, request_id


class ApiUnreachable(CallFailed):
    """No answer arrived; `detail` names the kind of failure. Safe to repeat: reads, and POST with an Idempotency-Key."""


class UnexpectedAnswer(CallFailed):
    """An answer that API.md does not know: another server, or a version too new or too old for this client."""
