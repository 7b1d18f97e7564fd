"""Benchmarks: how long a user waits, against the arithmetic floor."""
