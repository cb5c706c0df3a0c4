"""Step 3: whose credential a request presents; the credential is taken out of the query at once.

The secret itself is compared as a keyed digest and goes to no record and no target. Rules see the query without
it; a rule about the header it stands in sees that header as it came.
"""

from __future__ import annotations

from models.policy import CompiledProxy
from models.request import CanonicalRequest
from models.verifiers import without_parameters


def authenticate(proxy: CompiledProxy, request: CanonicalRequest) -> tuple[str, CanonicalRequest]:
    """The credential's id, and the request that rules, record and wire see from here on.

    Raises CredentialRejected.
    """
    callers = proxy.callers
    credential_id = callers.authenticate(request)
    if callers.strip_query and request.query:
        query = without_parameters(request.query, callers.strip_query)
        request = CanonicalRequest(request.method, request.path, query, request.headers)
    return credential_id, request
