"""The data plane's state on Ray, and the link that edges talk to (DESIGN section 5).

Per role a core without Ray and a thin shell around it. May import `models` and `store`; only this package imports
Ray, and its link client does not.
"""
