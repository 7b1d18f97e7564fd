"""Weights on disk: our format, foreign layouts, and where published files come from."""
