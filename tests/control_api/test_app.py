"""The running API as a whole: envelopes, problems, conditions, idempotency, canaries, and any body at all."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_api.app import create_app
from control_api.routes.table import ROUTES
from tests.kit.api import (
    REGIONS,
    Api,
    api,
    caller_body,
    fields,
    one,
    proxy_body,
    sender_body,
    target_body,
)

US, EU = REGIONS


async def test_a_write_tells_where_it_is(core: Api) -> None:
    """exeat-revision and exeat-propagation on every write; the request's id and no-store on every answer."""
    answer = await core.post("{c}/targets", target_body())
    assert answer.headers["exeat-revision"] == str(core.head)
    assert answer.headers["exeat-propagation"] == "applied"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["exeat-request-id"].startswith("req_")
    problem = await core.get("{c}/targets/tgt_none")
    assert problem.headers["exeat-request-id"] == problem.json()["requestId"]
    assert set(problem.json()) == {"type", "title", "status", "detail", "code", "requestId"}
    assert "alt-svc" not in answer.headers
    assert "alt-svc" not in problem.headers


async def test_a_region_that_is_away_is_pending(tmp_path: Path) -> None:
    """The write is accepted, and waited for no longer than two seconds."""
    async with api(tmp_path, away=(EU,)) as core:
        loop = asyncio.get_running_loop()
        before = loop.time()
        answer = await core.post("{c}/targets", target_body(EU))
        assert answer.headers["exeat-propagation"] == "pending"
        assert 1.9 <= loop.time() - before < 10
        core.regions[EU].come()
        assert await core.plane.ledger.propagated(int(answer.headers["exeat-revision"]), [EU], 10)


async def test_lists_go_on_where_they_stopped(core: Api) -> None:
    """By limit and nextCursor, also when something in between was deleted."""
    made = [(await core.make("{c}/targets", target_body()))["targetId"] for _ in range(5)]
    first = (await core.get("{c}/targets?limit=2")).json()
    assert [target["targetId"] for target in first["targets"]] == made[:2]
    await core.delete(f"{{c}}/targets/{made[1]}")
    rest = (await core.get("{c}/targets", params={"cursor": first["nextCursor"]})).json()
    assert [target["targetId"] for target in rest["targets"]] == made[2:]
    assert "nextCursor" not in rest
    for query, field in (
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("cursor=%%", "cursor"),
        ("after=1", "after"),
    ):
        assert fields(await core.get(f"{{c}}/targets?{query}")) == [field]
    assert fields(await core.get("{c}/targets?limit=1&limit=2")) == ["limit"]
    assert fields(await core.get(f"{{c}}/targets/{made[0]}?verbose=1")) == ["verbose"]


async def test_if_match_guards_every_change(core: Api) -> None:
    """412 when stale, bare or quoted; nothing is stored; the right revision goes through."""
    ids = await core.stack()
    paths = {
        f"{{c}}/targets/{ids['target']}": target_body(),
        f"{{c}}/proxies/{ids['proxy']}": proxy_body(ids),
    }
    for path, body in paths.items():
        revision = one(await core.get(path))["revision"]
        head = core.head
        for stale in (str(revision - 1), f'"{revision - 1}"', f'W/"{revision}"', "999"):
            for method in ("PUT", "PATCH", "DELETE"):
                answer = await core.call(method, path, json=body, headers={"if-match": stale})
                assert (answer.status_code, answer.json()["code"]) == (412, "precondition-failed")
        assert fields(await core.patch(path, {}, headers={"if-match": "yesterday"})) == ["If-Match"]
        assert core.head == head
        put = one(await core.put(path, body, headers={"if-match": f'"{revision}"'}))
        patched = one(await core.patch(path, {}, headers={"if-match": str(put["revision"])}))
        assert one(await core.patch(path, {}, headers={"if-match": "*"}))["revision"] > patched["revision"]
    revoke = await core.post(f"{{c}}/credentials/{ids['caller']}/revoke", headers={"if-match": "1"})
    assert revoke.status_code == 412


async def test_an_idempotency_key_does_a_thing_once(core: Api) -> None:
    """The same request gives the same answer; another body or path with the key is 409; another token's key is its own."""
    key = {"idempotency-key": "one"}
    first = await core.post("{c}/targets", target_body(), headers=key)
    head = core.head
    again = await core.post("{c}/targets", target_body(), headers=key)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["exeat-revision"] == first.headers["exeat-revision"]
    assert (await core.post("{c}/targets", target_body(targetName="Other"), headers=key)).status_code == 409
    assert (await core.post("{c}/credentials", caller_body(), headers=key)).status_code == 409
    assert core.head == head
    _, token = await core.new_member("admin")
    assert one(await core.post("{c}/targets", target_body(), headers=key, token=token), 201)
    assert core.head > head
    gone = one(first, 201)["targetId"]
    await core.delete(f"{{c}}/targets/{gone}")
    assert one(await core.post("{c}/targets", target_body(), headers=key), 201)["targetId"] == gone
    for bad in ("", "x" * 256):
        answer = await core.post("{c}/targets", target_body(), headers={"idempotency-key": bad})
        assert fields(answer) == ["Idempotency-Key"]


async def test_many_at_once_with_one_key_make_one(core: Api) -> None:
    """Also when they race."""
    answers = await asyncio.gather(
        *(core.post("{c}/targets", target_body(), headers={"idempotency-key": "race"}) for _ in range(8))
    )
    assert {one(answer, 201)["targetId"] for answer in answers} == {one(answers[0], 201)["targetId"]}
    assert len((await core.get("{c}/targets")).json()["targets"]) == 1


async def test_json_of_another_type_is_422(core: Api) -> None:
    """A list, a string, a number, null: JSON, and no resource."""
    head = core.head
    for body in (b"[]", b"null", b'"x"', b"5", b"true"):
        answer = await core.call("POST", "{c}/targets", content=body)
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"field": "body", "message": "must be an object"}]
    assert core.head == head


async def test_what_is_not_json_is_400(core: Api) -> None:
    """Not JSON, not UTF-8, twice the same field, NaN, too deep: 400, nothing stored."""
    head = core.head
    good = json.dumps(target_body()).encode()
    bodies = [
        b"", b"{", good + b"x", b"\xff\xfe{}", b"\xef\xbb\xbf" + good, b'{"a":NaN}',
        b'{"a":1e999}', b'{"targetName":"a","targetName":"b"}', b'{"a":' * 40 + b"1" + b"}" * 40, b"[" * 500_000,
        b'{"a":"\\ud800"}', b'{"a":' + b"9" * 5000 + b"}", b"{'a':1}",
    ]  # fmt: skip
    for method, path in (
        ("POST", "{c}/targets"),
        ("PUT", "{c}/configuration"),
        ("POST", "/clients"),
        ("PATCH", "{c}"),
    ):
        for body in bodies:
            answer = await core.call(method, path, content=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "not-json"), (method, path, body[:30])
    long = await core.call("POST", "{c}/targets", content=b'{"a":"' + b"x" * (1 << 20) + b'"}')
    assert (long.status_code, long.json()["code"]) == (413, "request-too-large")
    assert core.head == head


async def test_broken_http_is_a_problem_too(core: Api) -> None:
    """Whatever Sanic refuses by itself."""
    for raw, status in (
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /v1/health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /v1/\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"POST /v1/clients HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"BREW /v1/clients HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", core.port)
        writer.write(raw)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert head.startswith(b"HTTP/1.1 %d " % status), (raw[:40], head)
        assert b"application/problem+json" in head
        writer.close()
        await writer.wait_closed()
    bad = await core.get("/clients?cursor=%ff")
    assert bad.status_code == 400
    assert (await core.get("/clients?" + "&".join(f"a{n}=1" for n in range(40)))).status_code == 400


async def test_a_head_that_can_be_read_in_two_ways_ends_the_connection(core: Api) -> None:
    """What one reader takes for a body, another takes for the next request: neither is answered as one."""
    second = b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"
    for field in (
        b"Content-Length : %d" % len(second),
        b"Content-Length: 1\r\n\tX: y",
        b"Content-Length: \xd9\xa3",
        b"X: a\nContent-Length: %d" % len(second),
        b"X: a\0b",
        b"Host: b",
        b" folded: x",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", core.port)
        writer.write(b"GET /v1/health HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n%b" % (field, second))
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 400 "), field
        assert answer.count(b"HTTP/1.1 ") == 1, field
        writer.close()
        await writer.wait_closed()


async def test_two_authorizations_are_none(core: Api) -> None:
    """Which of them counts would be a guess."""
    headers = [("authorization", core.token), ("authorization", core.token)]
    answer = await core.http.get("/v1/users/me", headers=headers)
    assert answer.status_code == 401


async def test_an_unforeseen_failure_says_nothing(core: Api, caplog: pytest.LogCaptureFixture) -> None:
    """500 without detail; type and request id are the log's."""

    def broken(*_: object) -> None:
        raise RuntimeError("the secret is swordfish")

    core.plane.ledger.projection.regions = broken  # type: ignore[method-assign, assignment]  # the failure itself
    answer = await core.get("/endpoints")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "swordfish" not in answer.text
    assert answer.json()["requestId"] in [
        record.requestId for record in caplog.records if hasattr(record, "requestId")
    ]


async def test_a_caller_that_hangs_up_changes_nothing_of_a_write(core: Api) -> None:
    """What has begun is carried through."""
    await core.regions[US].leave()
    body = json.dumps(target_body()).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", core.port)
    head = f"POST /v1/clients/{core.client}/targets HTTP/1.1\r\nHost: a\r\nAuthorization: {core.token}\r\n"
    before = core.head
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    while core.head == before:  # noqa: ASYNC110 - what is waited for rings no bell of ours
        await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()
    del reader
    core.regions[US].come()
    assert len((await core.get("{c}/targets")).json()["targets"]) == 1


async def test_another_clients_ids_are_unknown_everywhere(core: Api) -> None:
    """In a path 404, with the same words as for one that does not exist."""
    ids = await core.stack()
    mine, core.client = core.client, await core.new_client("Other")
    for plural, name in (("credentials", "caller"), ("targets", "target"), ("proxies", "proxy")):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            foreign = await core.call(method, f"{{c}}/{plural}/{ids[name]}", json={})
            unknown = await core.call(method, f"{{c}}/{plural}/nothing", json={})
            assert foreign.status_code == unknown.status_code == 404
            assert foreign.json()["detail"] == unknown.json()["detail"]
    core.client = mine
    assert (await core.get(f"{{c}}/targets/{ids['target']}")).status_code == 200


async def test_no_answer_log_or_file_has_a_secret(
    core: Api, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Canaries in every place where a secret may stand, right or wrong, sought in plain, base64 and hex."""
    caplog.set_level("DEBUG")
    canary = "canary-0123456789abcdefABCDEF"
    seen: list[httpx.Response] = []

    async def send(method: str, path: str, body: Any) -> None:
        seen.append(await core.call(method, path, json=body))

    caller = await core.make("{c}/credentials", caller_body(credentialSecret={"key": canary}))
    path = f"{{c}}/credentials/{caller['credentialId']}"
    for secret in (
        {"key": canary}, canary, [canary], {canary: canary}, {"key": {"key": canary}}, {"key": f"{canary}\n"},
        {"key": canary, "name": "Host"}, {"key": canary, "more": canary}, {"token": canary}, None, 5,
    ):  # fmt: skip
        for body in (caller_body(credentialSecret=secret), sender_body(credentialSecret=secret)):
            await send("POST", "{c}/credentials", body)
            await send("PUT", path, body)
        await send("PATCH", path, {"credentialSecret": secret})
    await send("POST", f"{path}/revoke", {})
    seen += [await core.get(read) for read in (path, "{c}/credentials", "{c}/audit", "/endpoints", "{c}")]
    raw = canary.encode()
    middle = base64.b64encode(raw)[4:-4]  # whatever it is aligned to, a part of one of these shows
    forms = [
        raw,
        raw.hex().encode(),
        middle,
        base64.b64encode(b"x" + raw)[8:-8],
        base64.b64encode(b"xx" + raw)[8:-8],
    ]
    await core.plane.ledger._flush()
    out, err = capfd.readouterr()
    files = b"".join(file.read_bytes() for file in core.home.rglob("*") if file.is_file())
    logged = "\n".join(
        f"{record.getMessage()} {vars(record)}" for record in caplog.records if record.name != "httpx"
    )
    places = {
        "answers": b"".join(answer.content + str(answer.headers).encode() for answer in seen),
        "files": files,
        "output": (out + err).encode(),
        "log": logged.encode(),
    }
    for place, text in places.items():
        assert not [form for form in forms if form in text], place
    assert core.token.encode() not in files.replace((core.home / "owner.token").read_bytes(), b"")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
NAMES = sorted(
    {*target_body(), *caller_body(), *proxy_body({"caller": "c", "target": "t", "sender": "s"})}
    | {
        "effect",
        "path",
        "headerChecks",
        "methods",
        "roles",
        "userId",
        "configuration",
        "clientName",
        "userName",
    }
    | {"tokenName", "tokenScopes", "tokenExpiresAt", "credentialExpiresAt", "clientConfiguration", "revision"}
    | {
        "credentialOverlapSeconds",
        "targetCA",
        "targetTestPath",
        "proxyAlias",
        "notes",
        "priority",
        "queryChecks",
        "action",
        "paths",
        "statuses",
        "mask",
        "redact",
        "path",
    }
)
BODIES = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), JSON, max_size=6)


async def test_no_body_whatever_is_a_500(tmp_path: Path) -> None:
    """Any JSON object on any route that takes one is accepted or refused, never an error of ours."""
    async with api(tmp_path) as core:
        ids = await core.stack()
        rule = await core.make(f"{{c}}/proxies/{ids['proxy']}/rules", {"effect": "deny"})
        one = await core.make(f"{{c}}/proxies/{ids['proxy']}/filters", {"action": "mask", "paths": ["$.a"]})
        values = {
            "clientId": core.client, "userId": core.user, "credentialId": ids["caller"], "targetId": ids["target"],
            "proxyId": ids["proxy"], "ruleId": rule["ruleId"], "filterId": one["filterId"],
            "region": US,
        }  # fmt: skip
        wholes = [target_body(), caller_body(), sender_body(), proxy_body(ids), {"effect": "allow"},
                  {"action": "mask", "paths": ["$..a"]}]  # fmt: skip
        routes = [route for route in ROUTES if route.takes not in {None, "test", "nothing"}]
        loop = asyncio.get_running_loop()

        @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(route=st.sampled_from(routes), base=st.sampled_from([{}, *wholes]), body=BODIES)
        def try_one(route: Any, base: dict[str, Any], body: dict[str, Any]) -> None:
            path = route.path.removeprefix("/v1").format_map(values)
            token = f"r-{US}" if route.access == "region" else core.token
            # "utf-8" with surrogates would not be JSON, which is another test's matter.
            content = json.dumps({**base, **body}).encode()
            asked = asyncio.run_coroutine_threadsafe(
                core.call(route.method, path, token=token, content=content), loop
            )
            answer = asked.result(30)
            assert answer.status_code in {200, 201, 204, 400, 403, 404, 409, 422}, (route, body, answer.text)
            if answer.status_code == 422:
                assert answer.json()["errors"]

        await asyncio.to_thread(try_one)


def test_the_application_serves_the_table() -> None:
    """Every row is a route of Sanic's, and there is no other."""
    nothing: Any = SimpleNamespace(ledger=None, clock=None)  # nothing is asked of it
    app = create_app(nothing, name="test-control-table")
    served = {
        (method, "/" + route.path.replace("<", "{").replace(":str>", "}").replace(">", "}"))
        for route in app.router.routes
        for method in route.methods
    }
    assert served == {(route.method, route.path) for route in ROUTES}
