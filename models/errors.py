"""Every failure Exeat reports, as one short tree and one list of codes.

Each class carries the HTTP status, the public code and the public message; `detail` is for the
operator's log only and must never be copied into an answer, a header or a record.

    ExeatError
    ├── ConfigurationError            a policy file, resource or setting that cannot be used
    │   └── PatternError              a pattern that RE2 or our bounds refuse
    ├── Refusal                       an answer the edge makes itself (API.md section 3)
    │   ├── RequestMalformed    400   closes the connection
    │   │   └── RequestJsonTooLarge       names what is judged at most
    │   ├── CredentialRejected  401
    │   ├── BillingSuspended    402
    │   ├── RuleDenied          403   carries scope and rule id
    │   ├── ProxyInactive       403
    │   ├── ProxyUnknown        404
    │   ├── RequestTimeout      408   closes the connection
    │   ├── RequestTooLarge, ResponseTooLarge          413
    │   │   └── ResponseJsonTooLarge      names what is filtered at most
    │   ├── FilterBlocked       422
    │   ├── LimitExceeded       429   carries Retry-After
    │   ├── RequestHeadTooLarge 431   closes the connection
    │   ├── TargetUnreachable, TargetForbidden, TargetInvalid, ScrubFailed,
    │   │   RedactionFailed                                                           502
    │   ├── CredentialUnavailable, PolicyUnavailable, LimiterUnavailable,
    │   │   RecordBlocked, TargetSaturated                                            503
    │   ├── TargetTimeout       504
    │   └── ProxyLoop           508
    ├── JsonRefused                   bytes that are not strict JSON
    │   └── JsonTooLarge                  more values than whoever reads it takes
    ├── RingFull                      the record ring has no free slot
    ├── StoreError                    the store did not do it
    │   ├── VersionConflict               the document is at another version; nothing changed
    │   ├── StoreUnavailable              away or too slow; a write may or may not have happened
    │   └── SchemaTooNew                  written by a newer version of Exeat than this one
    ├── PeerUnavailable               an actor or the other plane is away; asking again is safe
    ├── CustodyError                  a statement or sealed secret that must not be believed
    │   ├── SignatureRefused              not signed by whom it should be, or for something else
    │   ├── StateRefused                  policy that is older, incomplete or of another region
    │   ├── CapabilityRefused             a capability of another host, past its time, used, or for something else
    │   └── SealBroken                    sealed for another reader, purpose, credential or destination
    ├── LinkError                     between a worker, its host's link and the actors behind it
    │   ├── LinkUnavailable               no link, or the actor is away; safe to ask again
    │   ├── Refused                       the actor would not do what it was asked
    │   └── FrameRefused                  bytes that are no frame of ours, or a frame that is too long
    └── ApiError                      an answer of the Core API (API.md section 2)
        ├── NotJson             400
        ├── Unauthenticated     401
        ├── Forbidden           403
        ├── NotFound            404
        ├── Conflict            409   carries the ids that stand in the way
        ├── PreconditionFailed  412
        ├── TooLarge            413
        ├── Invalid             422   carries the problems, field by field
        └── Unavailable         503
"""

from __future__ import annotations

from typing import ClassVar

GRANTED = "proxy-access-granted"


class ExeatError(Exception):
    """Base of all our errors. `detail` goes to the operator's log, never to a caller."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


class ConfigurationError(ExeatError):
    """Something an operator wrote cannot be used; names the field, and the place when there is one.

    field: dotted path in API.md's names (`proxies[0].proxyTargetId`); line: 1-based line in `file`.
    """

    def __init__(self, message: str, *, field: str = "", file: str = "", line: int = 0) -> None:
        self.message, self.field, self.file, self.line = message, field, file, line
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        return place + (f"{self.field}: {self.message}" if self.field else self.message)


class PatternError(ConfigurationError):
    """A pattern exceeds our bounds or RE2 refuses it."""


class JsonRefused(ExeatError):
    """Bytes that are not strict JSON (RFC 8259, and what `models.strict_json` adds); `detail` quotes none of them."""


class JsonTooLarge(JsonRefused):
    """JSON with more values than whoever reads it takes."""


class RingFull(ExeatError):
    """No free slot is left in the record ring; the caller's proxyRecordPolicy decides what follows."""


class Refusal(ExeatError):
    """An answer that the edge makes itself instead of forwarding.

    status, code, message: public, fixed per class. closes: the connection ends after the answer,
    because its framing can no longer be trusted or the caller was too slow.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"
    message: ClassVar[str] = "The request could not be handled"
    closes: ClassVar[bool] = False


class RequestMalformed(Refusal):
    """400: the request is not in canonical form or is ambiguous (DESIGN section 4, step 1)."""

    status = 400
    code = "request-malformed"
    message = "The request is malformed or ambiguous"
    closes = True


class RequestJsonTooLarge(RequestMalformed):
    """400: rules look into the body, and its JSON is larger than they are judged on (`models.strict_json`, `models.body_checks`)."""

    message = "The JSON of the request body has over 100,000 values, or a path of over 8,192 bytes"


class CredentialRejected(Refusal):
    """401: no credential of this proxy was presented, or two that differ."""

    status = 401
    code = "credential-rejected"
    message = "The proxy credential is missing or not accepted"


class BillingSuspended(Refusal):
    """402: the client's budget is exhausted."""

    status = 402
    code = "billing-suspended"
    message = "The account is suspended"


class RuleDenied(Refusal):
    """403: a rule or a scope's default denied; rule_id is None where the default decided."""

    status = 403
    code = "rule-denied"
    message = "A rule denies this request"

    def __init__(self, scope: str, rule_id: str | None) -> None:
        super().__init__(f"{scope} by {rule_id or 'default'}")
        self.scope, self.rule_id = scope, rule_id


class ProxyInactive(Refusal):
    """403: proxyActive is false."""

    status = 403
    code = "proxy-inactive"
    message = "The proxy is not active"


class ProxyUnknown(Refusal):
    """404: no proxy has this id or alias here."""

    status = 404
    code = "proxy-unknown"
    message = "There is no such proxy here"


class RequestTimeout(Refusal):
    """408: the request did not arrive within its deadline."""

    status = 408
    code = "request-timeout"
    message = "The request did not arrive in time"
    closes = True


class RequestTooLarge(Refusal):
    """413: the request body exceeds proxyMaxBodyBytes where a stage reads it."""

    status = 413
    code = "request-too-large"
    message = "The request body is too large"
    closes = True


class ResponseTooLarge(Refusal):
    """413: the answer exceeds proxyMaxResponseBytes where a stage buffers it."""

    status = 413
    code = "response-too-large"
    message = "The answer of the target is too large"


class ResponseJsonTooLarge(ResponseTooLarge):
    """413: filters look into the answer, and its JSON has more values than they take (`proxy_edge.steps.filter`)."""

    message = "The JSON of the target's answer has over 2,000,000 values"


class FilterBlocked(Refusal):
    """422: a filter could not be applied to the answer."""

    status = 422
    code = "filter-blocked"
    message = "A filter could not be applied to the answer"


class LimitExceeded(Refusal):
    """429: a window of a limit is exhausted; retry_after is in whole seconds, at least 1."""

    status = 429
    code = "limit-exceeded"
    message = "A request limit is exhausted"

    def __init__(self, retry_after: int, detail: str = "") -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class RequestHeadTooLarge(Refusal):
    """431: request line over 8 KiB, head over 64 KiB, over 100 fields, or trailers over 16 KiB."""

    status = 431
    code = "request-head-too-large"
    message = "The request head exceeds the limits"
    closes = True


class TargetUnreachable(Refusal):
    """502: no connection to the target, or it broke before an answer."""

    status = 502
    code = "target-unreachable"
    message = "The target cannot be reached"


class TargetForbidden(Refusal):
    """502: every address of the target is in a forbidden range."""

    status = 502
    code = "target-forbidden"
    message = "The target's address is not allowed"


class TargetInvalid(Refusal):
    """502: the target answered with something that is not valid HTTP/1.1."""

    status = 502
    code = "target-invalid"
    message = "The target's answer is not valid HTTP"


class ScrubFailed(Refusal):
    """502: the answer cannot be searched for the injected secret (unknown coding, or partial)."""

    status = 502
    code = "scrub-failed"
    message = "The answer of the target could not be scrubbed"


class RedactionFailed(Refusal):
    """502: no redactor answered in time, or what it found cannot be applied."""

    status = 502
    code = "redaction-failed"
    message = "The answer of the target could not be redacted"


class CredentialUnavailable(Refusal):
    """503: the edge holds no live lease of the target credential."""

    status = 503
    code = "credential-unavailable"
    message = "The target credential is not available"


class PolicyUnavailable(Refusal):
    """503: this proxy's policy could not be compiled, or the policy is too old to be enforced."""

    status = 503
    code = "policy-unavailable"
    message = "The policy of this proxy is not available"


class LimiterUnavailable(Refusal):
    """503: no permit and no limiter to ask for one."""

    status = 503
    code = "limiter-unavailable"
    message = "The limiter is not available"


class RecordBlocked(Refusal):
    """503: the record ring is full and proxyRecordPolicy is `block`."""

    status = 503
    code = "record-blocked"
    message = "The request cannot be recorded at the moment"


class TargetSaturated(Refusal):
    """503: all connections to the target are busy and its queue is full."""

    status = 503
    code = "target-saturated"
    message = "All connections to the target are busy"


class TargetTimeout(Refusal):
    """504: the target did not answer within targetTimeoutMs, or went silent inside its answer."""

    status = 504
    code = "target-timeout"
    message = "The target did not answer in time"


class ProxyLoop(Refusal):
    """508: our own Via came back."""

    status = 508
    code = "proxy-loop"
    message = "The request came back to this proxy"


class StoreError(ExeatError):
    """A store did not do what it was asked."""


class VersionConflict(StoreError):
    """The document is at another version than the one expected; nothing was changed."""


class StoreUnavailable(StoreError):
    """The store is away, too slow or refuses; a write may or may not have happened and is safe to repeat."""


class SchemaTooNew(StoreError):
    """The store holds documents of a schema that only a newer version of Exeat can read."""


class PeerUnavailable(ExeatError):
    """An actor or the other plane does not answer; a call may or may not have been carried out, and is safe to repeat."""


class CustodyError(ExeatError):
    """A statement, capability or sealed secret that must not be believed; `detail` names no secret."""


class SignatureRefused(CustodyError):
    """The signature is not that of the expected signer over this statement and purpose."""


class StateRefused(CustodyError):
    """Signed policy that goes back, leaves out, starts elsewhere or is of another region."""


class CapabilityRefused(CustodyError):
    """A capability of another host or region, past its time, used before, or for another operation."""


class SealBroken(CustodyError):
    """Cannot be opened: another reader, purpose, credential, version, region or destination, or altered bytes."""


class LinkError(ExeatError):
    """Nothing came of a question to an actor."""


class LinkUnavailable(LinkError):
    """There is no link, it was lost, or the actor behind it is away or too slow; safe to ask again."""


class Refused(LinkError):
    """The actor would not do what it was asked; asking again the same changes nothing."""


class FrameRefused(LinkError):
    """Bytes that are no frame of ours, or a frame over the bound; the connection cannot go on."""


class ApiError(ExeatError):
    """An answer of the Core API that is no success.

    status, code, title: public, fixed per class. public: one sentence for the caller, without secrets or
    input. errors: (field in API.md's names, message) pairs, on 422.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self, public: str = "", *, errors: tuple[tuple[str, str], ...] = (), detail: str = ""
    ) -> None:
        super().__init__(detail or public)
        self.public, self.errors = public, errors


class NotJson(ApiError):
    """400: the body is not one JSON object in UTF-8, or a query parameter cannot be read."""

    status = 400
    code = "not-json"
    title = "Bad request"


class Unauthenticated(ApiError):
    """401: no token, an unknown, expired or revoked one."""

    status = 401
    code = "unauthenticated"
    title = "Unauthorized"


class Forbidden(ApiError):
    """403: the role or the token's scopes do not reach this far."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class NotFound(ApiError):
    """404: no such route or resource, or another client's."""

    status = 404
    code = "not-found"
    title = "Not found"


class Conflict(ApiError):
    """409: something else stands in the way; references: ids of what refers to the resource."""

    status = 409
    code = "conflict"
    title = "Conflict"

    def __init__(self, public: str = "", *, references: tuple[str, ...] = (), detail: str = "") -> None:
        super().__init__(public, detail=detail)
        self.references = references


class PreconditionFailed(ApiError):
    """412: the resource is not at the revision that `If-Match` names."""

    status = 412
    code = "precondition-failed"
    title = "Precondition failed"


class TooLarge(ApiError):
    """413: the body is longer than the Core API reads."""

    status = 413
    code = "request-too-large"
    title = "Content too large"


class Invalid(ApiError):
    """422: the body is JSON, and its `errors` say which fields cannot be accepted."""

    status = 422
    code = "invalid"
    title = "Unprocessable content"


class Unavailable(ApiError):
    """503: the store, or a region that is needed for this, is away."""

    status = 503
    code = "unavailable"
    title = "Service unavailable"


def refusals() -> tuple[type[Refusal], ...]:
    """A class for every code, the one list that documentation and tests read; not the narrower ones below them."""
    return tuple(sorted(Refusal.__subclasses__(), key=lambda kind: (kind.status, kind.code)))
