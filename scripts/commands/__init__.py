"""The commands of `exeat`, one module for each group: their arguments, and what they hand on to."""
