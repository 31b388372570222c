"""Measurements behind the numbers in the README; scripts write `results/`, nobody types into it."""
