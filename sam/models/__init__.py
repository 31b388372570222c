"""The models by name: thin constructors with the papers' defaults."""

from sam.models.lstm import LSTM, LSTMModelState
from sam.models.registry import available_models, make_model, model_class, register_model
from sam.models.sam import SAM

__all__ = [
    "LSTM",
    "SAM",
    "LSTMModelState",
    "available_models",
    "make_model",
    "model_class",
    "register_model",
]
