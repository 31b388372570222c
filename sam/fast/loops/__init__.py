"""Compiled forms of the inner loops, for numba; see `index.compiled` for when they are used.

Importing this package imports nothing; its modules import numba and are imported when needed.
They take NumPy arrays that share the memory of tensors, and change what they are documented to
change. KernelParams are of one float type throughout, float32 or float64.
"""
