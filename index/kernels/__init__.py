"""Compiled twins of the inner loops of the indexes, for numba; `index.compiled` says when used.

Importing this package imports nothing; its modules import numba and are imported when needed.
They take NumPy arrays that share the memory of tensors, and change what they are documented to
change. Numbers are of one float type throughout, float32 or float64; a memory's slot s is row s + 1
of its words (see `index.stored`).
"""
