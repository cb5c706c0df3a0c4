"""The control plane: Core API, change log, projections, feed (DESIGN section 3).

Empty until the planes arrive. May import `models` and `store`.
"""
