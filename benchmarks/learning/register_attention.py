"""Makes "attention" a model's name, where a recipe imports this: not wherever it is used."""

from benchmarks.learning.attention import Attention
from sam import register_model

register_model("attention", Attention)
