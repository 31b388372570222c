"""The models by name: thin constructors with the papers' defaults."""

from sam.models.dam import DAM
from sam.models.dnc import DNC
from sam.models.lstm import LSTM, LSTMModelState
from sam.models.ntm import NTM
from sam.models.registry import available_models, make_model, model_class, register_model
from sam.models.sam import SAM
from sam.models.saving import load_model, save_model
from sam.models.sdnc import SDNC

__all__ = [
    "DAM",
    "DNC",
    "LSTM",
    "NTM",
    "SAM",
    "SDNC",
    "LSTMModelState",
    "available_models",
    "load_model",
    "make_model",
    "model_class",
    "register_model",
    "save_model",
]
