"""Request records in the control plane: taken from regions, counted, found again, and removed when they are old."""
