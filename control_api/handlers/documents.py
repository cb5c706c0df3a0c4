"""What describes the API: the OpenAPI document, and the same to read in a browser. The same for everybody."""

from __future__ import annotations

from functools import cache

from control_api import docs, openapi
from control_api.call import Answer, Call
from control_api.problems import dump


@cache
def _document() -> bytes:
    return dump(openapi.document())


@cache
def _page() -> tuple[bytes, str]:
    return docs.page(openapi.document())


async def openapi_document(_call: Call) -> Answer:
    """GET /v1/openapi.json."""
    return Answer(200, _document())


async def browse(_call: Call) -> Answer:
    """GET /docs: one page that loads nothing, which its policy also says."""
    html, policy = _page()
    headers = {"content-security-policy": policy, "x-content-type-options": "nosniff"}
    return Answer(200, html, headers, "text/html; charset=utf-8")
