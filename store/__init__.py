"""Durable documents behind one narrow interface (DESIGN section 8). May import `models` only."""
