"""The OpenAPI document: valid in structure, complete, and only what the table says."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema
import pytest

from control_api import docs, openapi, schemas
from control_api.routes.table import ROUTES
from tests.kit.api import Api, caller_body, proxy_body, sender_body, target_body
from tests.kit.recorded import batch, now_ms, record, send


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The whole document."""
    return openapi.document()


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for inner in value.values() for found in references(inner)]
    return [found for inner in value for found in references(inner)] if isinstance(value, list) else []


def test_it_covers_exactly_the_table(document: dict[str, Any]) -> None:
    """Every row, with its status, parameters and security; nothing else."""
    found = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert found == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert str(route.status) in operation["responses"]
        named = {(one["in"], one["name"]) for one in operation.get("parameters", ())}
        assert {name for where, name in named if where == "path"} == set(route.parameters)
        assert {name for where, name in named if where == "query"} == set(route.query)
        assert (("header", "If-Match") in named) == route.conditional
        assert ("requestBody" in operation) == (route.takes is not None)
        assert (operation["security"] == []) == (route.access == "open")
        assert operation.get("x-exeat-scope") == route.scope
        assert set(operation.get("x-exeat-roles", ())) == set(route.roles)
    ids = [openapi.operation_id(route) for route in ROUTES]
    assert len(set(ids)) == len(ids)


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    """What the specification requires (OpenAPI 3.1 sections 4.8.1 to 4.8.27), and every reference resolves."""
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(document["info"])
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["responses"]
            for parameter in operation.get("parameters", ()):
                assert {"name", "in", "schema"} <= set(parameter)
                assert parameter["in"] != "path" or parameter["required"] is True
            for requirement in operation["security"]:
                assert set(requirement) <= set(document["components"]["securitySchemes"])
            for response in operation["responses"].values():
                assert "$ref" in response or "description" in response
    for reference in references(document):
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
        assert isinstance(target, dict)


def test_its_schemas_are_json_schemas(document: dict[str, Any]) -> None:
    """Of the 2020-12 dialect, which OpenAPI 3.1 takes over whole."""
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_it_names_no_secret_and_no_id_to_send(document: dict[str, Any]) -> None:
    """Request bodies have neither ids nor read-only fields; answers have both."""
    components = document["components"]["schemas"]
    sent = components["CredentialRequest"]["properties"]
    assert not {"credentialId", "clientId", "rules", "filters", "credentialStatus"} & set(sent)
    assert {"credentialId", "credentialStatus", "revision"} <= set(components["Credential"]["properties"])
    assert "required" not in components["CredentialPatch"]


async def test_real_bodies_and_answers_fit_it(core: Api, document: dict[str, Any]) -> None:
    """What the API takes and gives is what the document says."""

    def check(name: str, value: Any) -> None:
        schema = {**schemas.reference(name), "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)

    ids = await core.stack()
    rule = {"effect": "deny", "path": {"pattern": "^/a"}, "headerChecks": [{"name": "a"}]}
    await core.post(f"{{c}}/proxies/{ids['proxy']}/rules", rule)
    one = {"action": "redact", "paths": ["$..note"], "redact": {"entities": ["PERSON"], "minScore": 1}}
    await core.make(f"{{c}}/proxies/{ids['proxy']}/filters", one)
    made = record("req_1", now_ms(), client_id=core.client, proxy_id=ids["proxy"])
    await send(core, batch(1, [made]))
    check("FilterRequest", one)
    check("CredentialRequest", caller_body())
    check("CredentialRequest", sender_body())
    check("TargetRequest", target_body())
    check("ProxyRequest", proxy_body(ids))
    check("RuleRequest", rule)
    for route in ROUTES:
        if route.method != "GET" or route.gives in {"docs", "openapi", "feed"} or "{tokenId}" in route.path:
            continue
        values = {
            "clientId": core.client,
            "userId": core.user,
            "revision": str(core.head),
            "credentialId": ids["caller"],
        }
        values |= {"targetId": ids["target"], "proxyId": ids["proxy"], "ruleId": "none", "filterId": "none"}
        values["requestId"] = made.request_id
        path = route.path.removeprefix("/v1").format_map(values)
        if path.endswith("/none"):
            continue
        answer: httpx.Response = await core.get(path)
        schema = {**schemas.answer(route), "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())


def test_the_page_shows_every_route_and_loads_nothing(document: dict[str, Any]) -> None:
    """One entry per row; no script, and no style but its own."""
    html, policy = docs.page(document)
    text = html.decode()
    assert text.count('<details id="') == len(ROUTES) + len(document["components"]["schemas"])
    assert "<script" not in text
    assert "src=" not in text
    assert "script-src" not in policy
    assert policy.startswith("default-src 'none'")
