"""Measurements behind the numbers in README and docs.

The scripts write `results/`; nobody types into it. Scripts at the top: `memory_sweep`, `sizes`,
`full_memory`, `long_sequence`, `exact_scan`, `parameters` and `report`, which fills the tables of
README and docs. `step`, `index`, `learning` and `cuda` are folders and scripts at once. `sweep`,
`bytes` and `tables` hold what the scripts are made of.
"""
