"""The models under test: every registered one, and the options that change what it does.

Only models of this repository need an entry here. Others are tested through `sam.testing`.
"""

import pytest
import torch

from sam.models import available_models, make_model

IN, OUT, T, B = 5, 3, 9, 4
DENSE = {"hidden_size": 12, "memory_size": 16, "word_size": 6}
SETTINGS = {
    "dam": {**DENSE, "num_heads": 2},
    "dnc": {**DENSE, "num_reads": 2},
    "lstm": {"hidden_size": 12},
    "ntm": {**DENSE, "num_heads": 2},
    "sam": {"hidden_size": 12, "memory_size": 64, "word_size": 6, "num_heads": 2, "top_k": 3},
    "sdnc": {"hidden_size": 12, "memory_size": 64, "word_size": 6, "num_reads": 2, "top_k": 3},
}
VARIANTS = [
    *((name, {}) for name in available_models()),
    *((name, {"embedding_size": 4}) for name in available_models()),
    ("sam", {"controller": "gru"}),
    ("sam", {"controller": "feedforward"}),
    ("sam", {"num_layers": 2}),
    ("sam", {"memory_size": 7}),
    ("sam", {"shared_write": True}),
    ("sam", {"renormalise": False, "memory_size": 40}),
    ("sam", {"similarity": "euclidean", "strength": "none"}),
    ("sdnc", {"memory_size": 7}),
    ("sdnc", {"num_links": 1, "decay_sources": True, "controller": "gru"}),
    ("dam", {"shared_write": True, "controller": "feedforward"}),
    ("dam", {"memory_size": 4}),
    ("ntm", {"controller": "feedforward", "shift_range": 2, "initial_weights": "uniform"}),
    ("ntm", {"addressing": "content", "controller": "gru"}),
    ("dnc", {"num_writes": 2, "num_layers": 2}),
    ("dnc", {"masked": True, "mask_floor": 0.1, "deallocate": True, "sharpen_links": True}),
    ("dnc", {"memory_size": 5}),
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
