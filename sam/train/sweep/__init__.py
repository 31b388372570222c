"""Sweeps: many runs that differ in a few settings, as one command, one table and one figure."""
