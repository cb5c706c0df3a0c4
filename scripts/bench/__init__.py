"""The benchmark: what a governed call costs beside a plain proxy, Envoy and no proxy at all.

It starts every peer itself on loopback, checks that each one governs before it is measured, and
prints a table with the same facts as JSON. It must never leave a process or a file behind.
"""
