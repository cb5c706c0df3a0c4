"""The OpenAPI document and its page over HTTP."""

from __future__ import annotations

from control_api.handlers import documents
from tests.kit.api import Api


async def test_the_documents_need_no_token(core: Api) -> None:
    """JSON for programs, one page for people that may load nothing."""
    document = await core.get("/openapi.json", token="")
    assert document.status_code == 200
    assert document.json()["openapi"].startswith("3.1")
    page = await core.get("/docs", token="")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    for source in ("<script", "http://", "https://", "@import", "url("):
        assert source not in page.text.partition("<h2>schemas</h2>")[0]
    assert documents.browse.__doc__
