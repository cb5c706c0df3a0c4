"""The CredentialVault's plain core: it keeps a region's secrets sealed and grants leases. Knows nothing of Ray."""
