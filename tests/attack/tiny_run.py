"""Runs of a few milliseconds an update, for subjects that break them off or damage them."""

from typing import Any

from sam.train.settings import resolve
from sam.train.train_config import RunConfig

UPDATES = 12


def tiny_run(**changes: dict[str, Any]) -> RunConfig:
    """Settings with a checkpoint every 5 updates; keyword arguments are tables laid over them."""
    tables: dict[str, dict[str, Any]] = {
        "task": {"name": "copy", "max_length": 2, "bits": 3},
        "model": {"hidden_size": 8, "memory_size": 32, "word_size": 4, "num_heads": 2, "top_k": 2},
        "train": {
            "batch_size": 2,
            "max_updates": UPDATES,
            "window": 4,
            "log_every": 1,
            "checkpoint_every": 5,
        },
        "eval": {"levels": [1, 2], "count": 2, "batch_size": 2},
    }
    tables["model"]["kind"] = "sam"
    for section, values in changes.items():
        tables[section] = tables.get(section, {}) | values
    return resolve(tables, "tiny run")
