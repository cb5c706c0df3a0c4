"""The scrub: an injected secret that the target echoes leaves the edge as filler of equal length.

`forms` knows how a secret can be spelled and masks complete bodies; `stream` does the same for bodies
that arrive in pieces. Nothing here may log, show or pickle what it searches for.
"""
