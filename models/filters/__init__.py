"""Filters at work on a JSON value: which parts their paths name, and what is left of it. Values and pure functions only."""
