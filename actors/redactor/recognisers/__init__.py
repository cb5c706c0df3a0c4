"""The deterministic recognisers: one module each, a pattern and what else must hold. Each is a pure function of a text.

Patterns are RE2, so that no text takes more than linear time; none may keep, log or raise a text.
"""
