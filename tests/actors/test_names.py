"""Names that other parts and operators rely on."""

from __future__ import annotations

from actors.names import NAMESPACE, REGISTRY, ROLES, VAULT, actor_name, region_resource


def test_names_are_those_of_the_design() -> None:
    """DESIGN section 5: `exeat/{region}/{role}` in namespace `exeat`; the vault is started first."""
    assert NAMESPACE == "exeat"
    assert actor_name("us-east-1", REGISTRY) == "exeat/us-east-1/PolicyRegistry"
    assert actor_name("us-east-1", VAULT) == "exeat/us-east-1/CredentialVault"
    assert region_resource("us-east-1") == "region:us-east-1"
    assert ROLES == (VAULT, REGISTRY)
