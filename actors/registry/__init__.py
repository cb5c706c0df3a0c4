"""The policy registry without Ray: follows the feed, verifies, keeps a mirror, publishes to links."""
