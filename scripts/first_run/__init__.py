"""What `make run` starts: the demo upstream, and one edge with a sample policy in front of it.

For trying Exeat out on one machine; nothing here is meant for production.
"""
