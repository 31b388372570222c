"""The words that an index has kept, beside those that it was given."""

from typing import Any

import numpy as np
import torch

from index.metric import unit
from index.stored import StoredIndex
from index.vector_index import VectorIndex

# How far what is kept may be from a number x: these times x, the largest number of the word, and 1.
_STEPS = {
    "float32": (2.0**-24, 0.0, 2.0**-149),
    "float16": (2.0**-11, 0.0, 2.0**-25),
    "bfloat16": (2.0**-8, 0.0, 2.0**-134),
    "int8": (0.0, 0.5 / 127, 2.0**-126),
}


def kept_words(index: VectorIndex, words: list[dict[int, np.ndarray]]) -> list[Any] | None:
    """What an index has kept of the words at slots; None if it keeps words as they come.

    Under the cosine these are divided by their norms, and what is kept of them is no longer of
    length 1, so that a score is an inner product.

    Raises:
        AssertionError: something else is kept than a word, rounded.
    """
    if not isinstance(index, StoredIndex) or not index._storage.rounds:
        return None
    assert index.config.storage is not None
    relative, of_largest, least = _STEPS[index.config.storage]
    found = []
    for b, memory in enumerate(words):
        slots = torch.tensor([*memory], dtype=torch.int64)
        kept = index._words_at(index._first_row[b].cpu() + slots)
        given = torch.from_numpy(np.array([*memory.values()])).view(len(slots), index.word_size)
        if index.config.metric == "cosine":
            given = unit(given, given.new_tensor(index.config.norm_eps or 0.0).sqrt())
        largest = given.abs().amax(1, keepdim=True) if len(given) else given[:, :1]
        allowed = 1.001 * (relative * given.abs() + of_largest * largest) + least + 1e-6 * largest
        assert ((kept.double() - given).abs() <= allowed).all(), "what is kept is not the word"
        found.append(dict(zip(memory, kept.double().numpy(), strict=True)))
    return found
