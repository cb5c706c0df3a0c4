"""The link: the one Ray process of an edge host. It carries what actors and workers say to each other, and has no key."""
