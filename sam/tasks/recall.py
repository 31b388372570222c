"""Associative recall in its two forms: the item after the queried one, and the value of a key."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.tasks.drawing import count_codes, distinct_bits, random_bits
from sam.tasks.levels import LevelTask, check_range, check_whole
from sam.tasks.task import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class NextItemRecall(LevelTask):
    """After n items one of them is shown again; answer the item that followed it. The level is n.

    NTM paper, sec. 4.3: 2 to 6 items of 3 vectors of 6 bits. The items of a sequence
    differ, so the answer is well defined; the last item is never the query. With l vectors in an
    item a sequence has ``T = (1 + l) n + 2 l + 2`` steps, ``4 n + 8`` by default.

    Channels: ``bits`` data channels, the item delimiter, the query delimiter. Rows in order::

        per item    item delimiter, then the l vectors of the item
        query       query delimiter, the l vectors of the queried item, query delimiter
        answer      l empty rows, scored; target: the item after the queried one

    Args:
        min_items: fewest items drawn in training, at least 2.
        max_items: most items drawn in training.
        item_length: vectors in an item.
        bits: bits of a vector.

    Raises:
        ConfigError: a setting is too small, the range is empty, or there are fewer different items
            than `max_items`.
    """

    easiest: ClassVar[int] = 2
    curriculum_start: ClassVar[int] = 3

    min_items: int = 2
    max_items: int = 6
    item_length: int = 3
    bits: int = 6

    def __post_init__(self) -> None:
        check_range("min_items", self.min_items, "max_items", self.max_items, least=2)
        check_whole("item_length", self.item_length, 1)
        check_whole("bits", self.bits, 1)
        _check_enough("max_items", self.max_items, self.item_length * self.bits)

    @property
    def input_size(self) -> int:
        """The data channels and two delimiters."""
        return self.bits + 2

    @property
    def output_size(self) -> int:
        """One logit per bit."""
        return self.bits

    @property
    def levels(self) -> tuple[int, int]:
        """The numbers of items drawn in training."""
        return self.min_items, self.max_items

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        items = _distinct_items(level, batch_size, self.item_length, self.bits, generator)
        query = torch.randint(level - 1, (batch_size,), generator=generator)
        rows = torch.arange(batch_size)
        batch = _lay_out(items, query=items[query, :, rows], answer=items[query + 1, :, rows])
        return batch._replace(slices={"items": torch.full((batch_size,), level)})


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyValueRecall(LevelTask):
    """After n (key, value) pairs one key is shown again; answer its value. The level is n.

    SAM paper, sec. 4.2: 3 to 6 pairs. The paper gives neither sizes nor channels; key
    and value are l = 3 vectors of 6 bits here (18 target bits, as in the next-item form; 16 bits
    give the 48 of its long-range figure). The keys of a sequence differ; values are free. A
    sequence has ``T = (1 + 2 l) n + 2 l + 2`` steps, ``7 n + 8`` by default.

    Channels: ``bits`` data channels, the pair delimiter, the query delimiter. Rows in order::

        per pair    pair delimiter, the l vectors of the key, the l vectors of the value
        query       query delimiter, the l vectors of one of the keys, query delimiter
        answer      l empty rows, scored; target: the value of that key

    Args:
        min_pairs: fewest pairs drawn in training.
        max_pairs: most pairs drawn in training.
        item_length: vectors in a key, and in a value.
        bits: bits of a vector.

    Raises:
        ConfigError: a setting is too small, the range is empty, or there are fewer different keys
            than `max_pairs`.
    """

    curriculum_start: ClassVar[int] = 3

    min_pairs: int = 3
    max_pairs: int = 6
    item_length: int = 3
    bits: int = 6

    def __post_init__(self) -> None:
        check_range("min_pairs", self.min_pairs, "max_pairs", self.max_pairs, least=1)
        check_whole("item_length", self.item_length, 1)
        check_whole("bits", self.bits, 1)
        _check_enough("max_pairs", self.max_pairs, self.item_length * self.bits)

    @property
    def input_size(self) -> int:
        """The data channels and two delimiters."""
        return self.bits + 2

    @property
    def output_size(self) -> int:
        """One logit per bit."""
        return self.bits

    @property
    def levels(self) -> tuple[int, int]:
        """The numbers of pairs drawn in training."""
        return self.min_pairs, self.max_pairs

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        keys = _distinct_items(level, batch_size, self.item_length, self.bits, generator)
        values = random_bits(tuple(keys.shape), generator)
        query = torch.randint(level, (batch_size,), generator=generator)
        rows = torch.arange(batch_size)
        batch = _lay_out(
            torch.cat([keys, values], dim=1),
            query=keys[query, :, rows],
            answer=values[query, :, rows],
        )
        return batch._replace(slices={"pairs": torch.full((batch_size,), level)})


def _check_enough(name: str, count: int, bits: int) -> None:
    if count > count_codes(bits):
        raise ConfigError(
            f"{name}: expected at most 2^{bits}={2**bits}, the number of different items of "
            f"item_length * bits = {bits} bits, got {count}"
        )


def _distinct_items(
    count: int, batch_size: int, length: int, bits: int, generator: torch.Generator
) -> Tensor:
    """Draws items that differ within a sequence, [count, length, batch_size, bits]."""
    flat = distinct_bits(count, batch_size, length * bits, generator)
    return flat.view(count, batch_size, length, bits).transpose(1, 2)


def _lay_out(records: Tensor, *, query: Tensor, answer: Tensor) -> Batch:
    """Writes delimited records, a delimited query and an empty answer into one batch.

    Args:
        records: what is to be remembered, [n, rows per record, B, bits].
        query: [B, l, bits].
        answer: [B, l, bits].

    Returns:
        The batch, its slices empty.
    """
    count, record_rows, batch_size, bits = records.shape
    length = query.shape[1]
    query_start = count * (1 + record_rows)
    steps = query_start + 2 + 2 * length
    inputs = torch.zeros(steps, batch_size, bits + 2, dtype=torch.float32)
    told = inputs[:query_start].view(count, 1 + record_rows, batch_size, bits + 2)
    told[:, 0, :, bits] = 1.0
    told[:, 1:, :, :bits] = records
    inputs[query_start, :, bits + 1] = 1.0
    inputs[query_start + 1 : query_start + 1 + length, :, :bits] = query.transpose(0, 1)
    inputs[query_start + 1 + length, :, bits + 1] = 1.0
    targets = torch.zeros(steps, batch_size, bits, dtype=torch.float32)
    targets[-length:] = answer.transpose(0, 1)
    mask = torch.zeros(steps, batch_size, dtype=torch.bool)
    mask[-length:] = True
    return Batch(inputs, targets, mask, {})
