"""What travels between the planes: region state, feed, uplink, commands, link frames. Values only, no I/O."""
