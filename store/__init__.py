"""Durable documents behind one narrow interface (DESIGN section 8). May import `models` only.

Empty until the planes arrive: the edge keeps its records in its own ring and hands them to a sink.
"""
