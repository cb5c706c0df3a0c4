"""The change log and what is made of it: one insert per write, projections, references, history."""
