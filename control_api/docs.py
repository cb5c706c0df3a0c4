"""The OpenAPI document as one page to read: plain HTML and its own style, no script, nothing loaded from anywhere.

Pure. Everything that goes in is escaped, although all of it is ours.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from html import escape
from typing import Any, Final

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;"
    "background:#fff}h2{margin-top:2.5rem}code,pre{font:14px/1.45 ui-monospace,monospace}summary{cursor:pointer;"
    "padding:.35rem 0}pre{background:#f4f5f7;padding:.75rem;overflow:auto}.m{display:inline-block;min-width:4.5rem;"
    "font-weight:600}.s{color:#57606a}table{border-collapse:collapse}td{padding:.15rem .75rem .15rem 0;"
    "vertical-align:top}@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#15181c}"
    "pre{background:#20242a}.s{color:#9aa3ad}a{color:#8ab4f8}}"
)


def page(document: dict[str, Any]) -> tuple[bytes, str]:
    """The page, and the content security policy to send it with."""
    digest = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    info = document["info"]
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>",
        '<p>The same for programs: <a href="/v1/openapi.json">openapi.json</a></p>',
        *(f"<h2>{escape(tag)}</h2>{''.join(found)}" for tag, found in groups.items()),
        "<h2>schemas</h2>",
        *(_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
        "</body></html>",
    ]
    return "".join(parts).encode(), policy


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td>"
        f"<td>{escape(one.get('description', ''))}</td></tr>"
        for one in operation.get("parameters", ())
    )
    table = f"<table>{rows}</table>" if rows else ""
    sent = _links("Takes", operation.get("requestBody", {}))
    answered = "".join(
        _links(f"{status}:", response)
        for status, response in operation["responses"].items()
        if status < "300"
    )
    refused = ", ".join(status for status in operation["responses"] if status >= "300")
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><span class="m">{method.upper()}</span>'
        f'<code>{escape(path)}</code> <span class="s">{escape(operation["summary"])}</span></summary>'
        f"<p>{escape(operation['description'])}</p>{table}{sent}{answered}"
        f"{f'<p>Problems: {refused}</p>' if refused else ''}</details>"
    )


def _links(label: str, holder: dict[str, Any]) -> str:
    """Links to every schema that is named in a request body or response."""
    names = dict.fromkeys(_names(holder))
    links = ", ".join(f'<a href="#schema-{escape(name)}">{escape(name)}</a>' for name in names)
    return f"<p>{escape(label)} {links}</p>" if links else ""


def _names(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].rpartition("/")[2]] if isinstance(value.get("$ref"), str) else []
        return own + [name for inner in value.values() for name in _names(inner)]
    return [name for inner in value for name in _names(inner)] if isinstance(value, list) else []


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = escape(json.dumps(schema, indent=2, ensure_ascii=False))
    return (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{text}</pre></details>"
    )
