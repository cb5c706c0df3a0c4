"""The policy file: one YAML document from which an edge runs alone (`exeat edge --policy FILE`).

It reads the file and what it refers to, and answers with resources or with every error at once. It never
holds a secret in clear outside a `Secret`, and never copies one into an error.
"""

from proxy_edge.policy_file.document import PolicyDocument
from proxy_edge.policy_file.findings import PolicyFileErrors
from proxy_edge.policy_file.load import load_policy_file

__all__ = ["PolicyDocument", "PolicyFileErrors", "load_policy_file"]
