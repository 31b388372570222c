"""Sparse Access Memory and its relatives: recurrent networks with a very large external memory."""

from sam.cell import CellState, MemoryCell
from sam.controller import FeedForwardController, GRUController, LSTMController
from sam.errors import (
    BackendMissingError,
    CheckpointError,
    ConfigError,
    DataMissingError,
    NonFiniteError,
    ShapeError,
    StaleStateError,
    UnknownNameError,
)
from sam.memory.sam import SAMMemory
from sam.models import LSTM, SAM, available_models, make_model, register_model
from sam.network import MemoryNetwork
from sam.trace import Trace

__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "SAM",
    "BackendMissingError",
    "CellState",
    "CheckpointError",
    "ConfigError",
    "DataMissingError",
    "FeedForwardController",
    "GRUController",
    "LSTMController",
    "MemoryCell",
    "MemoryNetwork",
    "NonFiniteError",
    "SAMMemory",
    "ShapeError",
    "StaleStateError",
    "Trace",
    "UnknownNameError",
    "available_models",
    "make_model",
    "register_model",
]
