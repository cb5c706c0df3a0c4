"""The demo upstream, and a sample policy for an edge alone in front of it. Nothing here is meant for production."""
