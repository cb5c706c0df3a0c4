"""The data plane's state on Ray, and the link that edges talk to (DESIGN section 5).

Empty until the planes arrive. May import `models` and `store`; only this package imports Ray.
"""
