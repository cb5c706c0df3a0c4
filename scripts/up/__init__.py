"""Bring-up of a whole installation on one machine: keys, the Ray head, supervision of every part, its state."""
