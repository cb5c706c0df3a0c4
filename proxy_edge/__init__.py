"""The data plane's traffic: door, parser, exchange, upstream pool, and one module per step.

May import `models` and, of `actors`, the link client only; never Ray, a database or the control API.
"""
