"""Sparse Access Memory and its relatives: recurrent networks with a very large external memory."""

from index import BaseDiff, BaseMemory
from sam.cell import CellState, MemoryCell
from sam.controller import (
    FeedForwardController,
    GRUController,
    LSTMController,
    StackedController,
)
from sam.errors import (
    BackendMissingError,
    CheckpointError,
    ConfigError,
    DataMissingError,
    DivergedError,
    FileFormatError,
    NonFiniteError,
    ShapeError,
    StaleStateError,
    UnknownNameError,
)
from sam.memory.dam import DAMMemory
from sam.memory.dnc import DNCMemory
from sam.memory.ntm import NTMMemory
from sam.memory.protocol import Field
from sam.memory.sam import SAMMemory
from sam.memory.sdnc import SDNCMemory
from sam.models import (
    DAM,
    DNC,
    LSTM,
    NTM,
    SAM,
    SDNC,
    available_models,
    load_model,
    make_model,
    register_model,
    save_model,
)
from sam.network import MemoryNetwork
from sam.state_files import load_state
from sam.trace import Trace

__version__ = "0.1.0"

__all__ = [
    "DAM",
    "DNC",
    "LSTM",
    "NTM",
    "SAM",
    "SDNC",
    "BackendMissingError",
    "BaseDiff",
    "BaseMemory",
    "CellState",
    "CheckpointError",
    "ConfigError",
    "DAMMemory",
    "DNCMemory",
    "DataMissingError",
    "DivergedError",
    "FeedForwardController",
    "Field",
    "FileFormatError",
    "GRUController",
    "LSTMController",
    "MemoryCell",
    "MemoryNetwork",
    "NTMMemory",
    "NonFiniteError",
    "SAMMemory",
    "SDNCMemory",
    "ShapeError",
    "StackedController",
    "StaleStateError",
    "Trace",
    "UnknownNameError",
    "available_models",
    "load_model",
    "load_state",
    "make_model",
    "register_model",
    "save_model",
]
