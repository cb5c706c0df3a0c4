"""The vocabulary: resources, compiled policy and its judgement, records, errors, ids.

Values and pure functions only. Nothing here does I/O or imports another package of ours.
"""
