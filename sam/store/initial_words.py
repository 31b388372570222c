"""Sizes of a memory: what one needs that starts with given words, and how one grows."""

import math

import torch
from torch import Tensor

from sam.errors import ConfigError, NonFiniteError, ShapeError

_FIRST_CAPACITY = 32


def given_words(
    words: Tensor,
    *,
    batch_size: int,
    memory_size: int,
    word_size: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Checks the words a memory is to start with and brings them into its form.

    Args:
        words: [n, W] for every batch row, or [B, n, W]; n at most N; any float dtype and device.
        batch_size: B.
        memory_size: N.
        word_size: W.
        device: where the memory lives.
        dtype: of the memory.

    Returns:
        The words detached, [B, n, W]; a view that repeats them where they were [n, W].

    Raises:
        ShapeError: not a floating tensor of such a shape, or more words than slots.
        NonFiniteError: a word is NaN or infinite, or becomes so in `dtype`.

    Cost: O(words given).
    """
    expected = f"words: expected floats [n, W={word_size}] or [B={batch_size}, n, W={word_size}]"
    if not isinstance(words, Tensor):
        raise ShapeError(f"{expected}, got {type(words).__name__}")
    if (
        not words.is_floating_point()
        or words.dim() not in (2, 3)
        or words.shape[-1] != word_size
        or (words.dim() == 3 and len(words) != batch_size)
    ):
        raise ShapeError(f"{expected}, got {words.dtype} {list(words.shape)}")
    if words.shape[-2] > memory_size:
        raise ShapeError(
            f"words: expected at most memory_size={memory_size} words, got {words.shape[-2]}"
        )
    words = words.detach().to(device="cpu" if device is None else device, dtype=dtype)
    # One sum shows every NaN and infinity without another tensor as large as the words; as it may
    # overflow too, a second look decides.
    if not math.isfinite(words.sum().item()) and not bool(words.isfinite().all()):
        place = (~words.isfinite()).nonzero()[0].tolist()
        raise NonFiniteError(
            f"words: expected finite values in {dtype}, got {words[tuple(place)].item()} at {place}"
        )
    return words if words.dim() == 3 else words.expand(batch_size, -1, -1)


def room_for(memory_size: int, loaded: int = 0) -> int:
    """Slots to make room for in a memory of N slots that starts with `loaded` words.

    Twice the words, so that the first one written beyond them does not make all of them move.
    """
    return min(memory_size, max(_FIRST_CAPACITY, 2 * loaded))


def check_growth(memory_size: int, wanted: int) -> None:
    """Raises ConfigError if a memory of N slots is asked to have fewer."""
    if wanted < memory_size:
        raise ConfigError(
            f"memory_size: expected at least the {memory_size} of this state, got {wanted}"
        )
