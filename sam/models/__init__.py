"""The models by name: thin constructors with the papers' defaults."""

from sam.models.dam_model import DAM
from sam.models.dnc_model import DNC
from sam.models.lstm_model import LSTM, LSTMModelState
from sam.models.model_files import load_model, save_model
from sam.models.model_registry import available_models, make_model, model_class, register_model
from sam.models.ntm_model import NTM
from sam.models.sam_model import SAM
from sam.models.sdnc_model import SDNC

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
