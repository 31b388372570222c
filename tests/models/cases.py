"""The models under test: every registered one, and the options that change what SAM does."""

import pytest
import torch

from sam.models import available_models, make_model

IN, OUT, T, B = 5, 3, 9, 4
SETTINGS = {
    "lstm": {"hidden_size": 12},
    "sam": {"hidden_size": 12, "memory_size": 64, "word_size": 6, "num_heads": 2, "top_k": 3},
}
VARIANTS = [
    *((name, {}) for name in available_models()),
    *((name, {"embedding_size": 4}) for name in available_models()),
    ("sam", {"controller": "gru"}),
    ("sam", {"controller": "feedforward"}),
    ("sam", {"memory_size": 7}),
    ("sam", {"shared_write": True}),
    ("sam", {"renormalise": False, "memory_size": 40}),
    ("sam", {"similarity": "euclidean", "strength": "none"}),
]
models = pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=[f"{n} {o}" if o else n for n, o in VARIANTS]
)


def build(name, options=None, dtype=torch.float64, **more):
    torch.manual_seed(3)
    settings = SETTINGS[name] | (options or {}) | more
    return make_model(name, IN, OUT, **settings).to(dtype)


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
