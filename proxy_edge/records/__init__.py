"""Request records on the edge: the memory-mapped ring, the sink behind it, and the recovery after a death.

No record is lost (invariant 9): it is in the ring before the first byte goes upstream and leaves it only
when the sink has accepted it.
"""
