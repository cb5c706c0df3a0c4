"""The typed client of the Core API, for programs and notebooks. May import `models` only."""

from sdk.answers import (
    AuditEntry,
    Client,
    Configuration,
    Credential,
    Endpoint,
    Filter,
    Limits,
    Member,
    Proxy,
    Readiness,
    Revision,
    Rule,
    Target,
    TargetTest,
    Token,
    User,
)
from sdk.client import ExeatClient
from sdk.errors import ApiProblem, ApiUnreachable, CallFailed, FieldProblem, UnexpectedAnswer
from sdk.lists import Page
from sdk.records import Bucket, Request, Usage
from sdk.wire import Change, Reply, Retry

__all__ = [
    "ApiProblem",
    "ApiUnreachable",
    "AuditEntry",
    "Bucket",
    "CallFailed",
    "Change",
    "Client",
    "Configuration",
    "Credential",
    "Endpoint",
    "ExeatClient",
    "FieldProblem",
    "Filter",
    "Limits",
    "Member",
    "Page",
    "Proxy",
    "Readiness",
    "Reply",
    "Request",
    "Retry",
    "Revision",
    "Rule",
    "Target",
    "TargetTest",
    "Token",
    "UnexpectedAnswer",
    "Usage",
    "User",
]
