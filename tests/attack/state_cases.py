"""The models whose states are attacked: every registered one, its options, its forms."""

import importlib.util
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from index import IndexConfig
from sam.models import available_models, make_model
from tests.models.cases import SETTINGS

IN, OUT, ROWS = 5, 3, 4
_APPROXIMATE: dict[str, dict[str, Any]] = {
    "ivf": {"exact_below": 8, "probes": 1},
    "lsh": {"tables": 2, "probes": 1},
    "product": {"exact_below": 8, "probes": 1},
}
if importlib.util.find_spec("faiss"):
    _APPROXIMATE["faiss"] = {"exact_below": 8, "probes": 1}

CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in available_models()),
    ("sam", {}),
    ("sam", {"memory_size": 9}),
    ("sam", {"shared_write": True}),
    ("sam", {"controller": "gru"}),
    ("sam", {"controller": "feedforward", "memory_size": 9}),
    ("sam", {"num_layers": 2}),
    ("sam", {"renormalise": False}),
    ("sam", {"similarity": "euclidean", "strength": "none"}),
    *(("sam", {"index": IndexConfig(kind=kind, **given)}) for kind, given in _APPROXIMATE.items()),
    ("sdnc", {}),
    ("sdnc", {"memory_size": 9, "num_links": 2}),
    ("sdnc", {"controller": "gru", "decay_sources": True}),
    ("sdnc", {"index": IndexConfig(kind="lsh", tables=2, probes=1)}),
    ("dam", {"shared_write": True, "controller": "feedforward"}),
    ("ntm", {"addressing": "content", "controller": "gru"}),
    ("dnc", {"num_writes": 2, "num_layers": 2}),
)


class Form(NamedTuple):
    """How a model computes."""

    compiled: bool
    dtype: torch.dtype


PLAIN = Form(False, torch.float64)
FORMS = (PLAIN, Form(False, torch.float32))
if importlib.util.find_spec("numba"):
    FORMS = (Form(True, torch.float64), Form(True, torch.float32), Form(True, torch.float64), PLAIN)


@cache
def model_of(place: int, form: Form, **changes: Any) -> Any:
    """The model of `CASES[place]` in a form; all forms have the same parameters."""
    name, options = CASES[place]
    torch.manual_seed(3)
    settings = SETTINGS[name] | options | changes
    if name in ("sam", "sdnc"):
        index = settings.get("index", IndexConfig())
        # The forms of LSH may find different words, and faiss has one form.
        if index.kind not in ("faiss", "lsh"):
            settings["index"] = replace(index, compiled=form.compiled)
        settings["compiled"] = form.compiled
    model = make_model(name, IN, OUT, **settings).double().to(form.dtype)
    if name != "lstm":
        with torch.no_grad():
            for parameter in cell_of(model).interface.parameters():
                parameter.mul_(2)
    return model


def cell_of(model: nn.Module) -> Any:
    """Of any model but the baseline without a memory."""
    return model.cell


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers that are the same in every dtype, to rounding."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).float().to(dtype)
