"""Benchmarks: how long a user waits, against the arithmetic floor."""

import stylefeatureeditor  # noqa: F401  (sets how torch takes memory, before torch is imported)
