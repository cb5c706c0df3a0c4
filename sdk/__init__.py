"""The typed client of the Core API. Empty until the planes arrive. May import `models` only."""
