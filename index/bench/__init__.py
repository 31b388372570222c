"""Measures indexes side by side on the same words; see `index.bench.comparison`."""
