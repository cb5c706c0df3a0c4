"""Connections to targets: one protocol object per connection, and the pool that keeps idle ones."""
