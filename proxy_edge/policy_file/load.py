"""Loads a policy file from disk: the rim around parsing, references and checks.

It answers with a document that holds together or raises every error at once; a half-read policy never
leaves it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

from models.errors import ConfigurationError
from proxy_edge.policy_file.document import PolicyDocument, read_document
from proxy_edge.policy_file.files import read_regular_file
from proxy_edge.policy_file.findings import Findings, PolicyFileErrors
from proxy_edge.policy_file.parse import SIZE_MAX, parse_yaml
from proxy_edge.policy_file.references import SecretReader


def load_policy_file(path: Path, environment: Mapping[str, str], region: str | None = None) -> PolicyDocument:
    """Reads a policy file and the secrets it refers to.

    path: as the operator gave it, and as errors show it. environment: where `{env: NAME}` looks.
    region: the one the file must be for, or None. Raises PolicyFileErrors, which holds every problem found, each with file, line and field.
    """
    own = path.absolute()
    reader = SecretReader(own.parent, environment)
    try:
        data, _ = read_regular_file(path, SIZE_MAX, "")
        tree = parse_yaml(data)
    except ConfigurationError as error:
        placed = ConfigurationError(error.message, file=str(path), line=error.line or 1)
        raise PolicyFileErrors([placed], [own]) from None
    findings = Findings(str(path), tree.line_of)
    for location, line in tree.repeated:
        findings.error(location, "is given twice", line=line)
    document = read_document(tree.value, findings, reader)
    if region is not None and document.region != region:
        findings.error(("region",), f"is {document.region}, and this edge serves {region}")
    sources = (own, *reader.sources)
    if findings.errors:
        raise PolicyFileErrors(findings.errors, sources)
    return dataclasses.replace(
        document, sources=sources, digest=_digest(data, reader.stamps), warnings=findings.warnings
    )


def _digest(data: bytes, stamps: list[str]) -> str:
    """SHA-256 over the file and the stamps of its secret files, in hex."""
    return hashlib.sha256("\n".join([hashlib.sha256(data).hexdigest(), *stamps]).encode()).hexdigest()
