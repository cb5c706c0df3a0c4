"""Who may say what, and what only one reader may read: signatures, capabilities, sealed secrets. No I/O."""
