"""The RateLimiter's plain core: it leases calls under limits and never more than those allow. Knows nothing of Ray."""
