"""Pieces of machine code that numba has no words for, used by the compiled forms.

Importing the package imports nothing; its modules import numba.
"""
