"""Compiled forms of the inner loops of the indexes, for numba.

`StoredIndex` decides whether they are used, and everything works without this folder. Importing the
package imports nothing; its modules import numba. They take NumPy arrays that share the memory of
tensors, and change what they are documented to change; what numba has no words for is in
`index.llvm`. Floats are all float32 or all float64; slot s of a memory is row s + 1 of its words
(see `index.stored`).
"""
