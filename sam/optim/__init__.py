"""Optimizers for tables of which a step touches few rows, as the words of a trainable base."""

from sam.optim.rowwise import RowwiseAdagrad, RowwiseAdam

__all__ = ["RowwiseAdagrad", "RowwiseAdam"]
