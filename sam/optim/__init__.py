"""Words of a base as parameters, and optimizers for tables of which a step touches few rows."""

from sam.optim.rowwise import RowwiseAdagrad, RowwiseAdam
from sam.optim.trainable import TrainableBase

__all__ = ["RowwiseAdagrad", "RowwiseAdam", "TrainableBase"]
