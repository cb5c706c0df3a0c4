"""Request records on the edge: the memory-mapped ring, the keeper and its sinks, the spool and its way to the region.

No record is lost (invariant 9): it is in the ring before the first byte goes upstream, leaves it only when the sink
has accepted it, and leaves the spool only when the control plane has it.
"""
