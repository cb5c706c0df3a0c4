"""Envoy's configuration for the same governance as ours, as far as Envoy has it.

API key, four RBAC filters of ten path patterns each, a limit per minute and one per day, an injected
bearer token, an access log. Envoy has no scrub, and calls need no proxy id in the path here: where the
two differ, Envoy has less to do. The keys stand in files of the run's private directory and nowhere else.
"""

from __future__ import annotations

from pathlib import Path

from scripts.bench import governance
from scripts.bench.governance import Keys

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_BEARER = "bearer"
_TYPE = "@type"


def bootstrap(
    port: int, upstream_port: int, keys: Keys, *, access_log: Path, secret: Path
) -> dict[str, object]:
    """The whole static configuration: one listener, one cluster, no admin port."""
    manager = {
        _TYPE: f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "normalize_path": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "access_log": [_access_log(access_log)],
        "route_config": _routes(),
        "http_filters": http_filters(keys, secret),
    }
    return {
        "node": {"id": "bench", "cluster": "bench"},  # Envoy reads no secret file without
        "static_resources": {
            "listeners": [
                {
                    "name": "edge",
                    "address": _address(port),
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": manager,
                                }
                            ]
                        }
                    ],
                }
            ],
            "clusters": [_cluster(upstream_port)],
        },
    }


def http_filters(keys: Keys, secret: Path) -> list[dict[str, object]]:
    """The filters in the order of our own steps: key, rules, limits, injection, forwarding."""
    return [
        _filter("api_key", "api_key_auth.v3.ApiKeyAuth", {
            "credentials": [{"key": keys.caller.reveal().decode(), "client": "caller"}],
            "key_sources": [{"header": governance.KEY_HEADER}],
            "forwarding": {"hide_credentials": True},
        }),
        *(_filter(f"rules_{scope}", "rbac.v3.RBAC", rbac(scope)) for scope in governance.SCOPES),
        _filter("per_minute", "local_ratelimit.v3.LocalRateLimit", _limit("per_minute", governance.PER_MINUTE, 60)),
        _filter("per_day", "local_ratelimit.v3.LocalRateLimit", _limit("per_day", governance.PER_DAY, 86_400)),
        _filter("inject", "credential_injector.v3.CredentialInjector", {
            "overwrite": True,
            "credential": {
                "name": "envoy.http.injected_credentials.generic",
                "typed_config": {
                    _TYPE: f"{_EXTENSIONS}.http.injected_credentials.generic.v3.Generic",
                    "credential": {
                        "name": _BEARER,
                        "sds_config": {"path_config_source": {"path": str(secret)}, "resource_api_version": "V3"},
                    },
                },
            },
        }),
        _filter("router", "router.v3.Router", {}),
    ]  # fmt: skip


def rbac(scope: str) -> dict[str, object]:
    """One policy for a scope: none of the denials and one of the allowances.

    A single policy of ten conditions is what Envoy evaluates fastest; ten policies cannot say that any
    denial wins within one filter.
    """
    rules = governance.rules(scope)
    denials = [{"not_rule": _path(rule.pattern)} for rule in rules if rule.effect == "deny"]
    allowances = [_path(rule.pattern) for rule in rules if rule.effect == "allow"]
    permission = {"and_rules": {"rules": [*denials, {"or_rules": {"rules": allowances}}]}}
    policies = {scope: {"permissions": [permission], "principals": [{"any": True}]}}
    return {"rules": {"action": "ALLOW", "policies": policies}}


def bearer_secret(keys: Keys) -> dict[str, object]:
    """The secret file: the whole header value, discovered by name."""
    value = f"Bearer {keys.bearer.reveal().decode()}"
    return {
        "resources": [
            {
                _TYPE: f"{_EXTENSIONS}.transport_sockets.tls.v3.Secret",
                "name": _BEARER,
                "generic_secret": {"secret": {"inline_string": value}},
            }
        ]
    }


def _filter(name: str, kind: str, config: dict[str, object]) -> dict[str, object]:
    return {"name": name, "typed_config": {_TYPE: f"{_EXTENSIONS}.filters.http.{kind}", **config}}


def _path(pattern: str) -> dict[str, object]:
    return {"url_path": {"path": {"safe_regex": {"regex": pattern}}}}


def _limit(prefix: str, tokens: int, seconds: int) -> dict[str, object]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "stat_prefix": prefix,
        "token_bucket": {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": f"{seconds}s"},
        "filter_enabled": always,
        "filter_enforced": always,
    }


def _routes() -> dict[str, object]:
    one_a_minute = {
        _TYPE: f"{_EXTENSIONS}.filters.http.local_ratelimit.v3.LocalRateLimit",
        **_limit("one_a_minute", 1, 60),
    }
    load = governance.LOAD_PATH.rpartition("/")[0] + "/"
    limited = governance.LIMITED_PATH.rpartition("/")[0] + "/"
    return {
        "virtual_hosts": [
            {
                "name": "target",
                "domains": ["*"],
                "routes": [
                    {"match": {"prefix": load}, "route": {"cluster": "target"}},
                    {
                        "match": {"prefix": limited},
                        "route": {"cluster": "target"},
                        "typed_per_filter_config": {"per_minute": one_a_minute},
                    },
                    {"match": {"prefix": "/"}, "route": {"cluster": "target"}},
                ],
            }
        ]
    }


def _access_log(path: Path) -> dict[str, object]:
    fields = {
        "requestId": "%REQ(X-REQUEST-ID)%",
        "receivedAt": "%START_TIME%",
        "durationMs": "%DURATION%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "code": "%RESPONSE_CODE_DETAILS%",
        "upstream": "%UPSTREAM_HOST%",
        "bytesIn": "%BYTES_RECEIVED%",
        "bytesOut": "%BYTES_SENT%",
        "clientAddress": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "userAgent": "%REQ(USER-AGENT)%",
    }
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            _TYPE: f"{_EXTENSIONS}.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": fields},
        },
    }


def _cluster(port: int) -> dict[str, object]:
    return {
        "name": "target",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "target",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
