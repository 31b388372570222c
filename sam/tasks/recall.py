"""Associative recall in its two forms: the item after the queried one, and the value of a key."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.tasks.drawing import count_codes, distinct_bits, random_bits
from sam.tasks.levels import BitTask, check_whole
from sam.tasks.task import Batch


class _Recall(BitTask):
    """What both forms share: delimited records, a delimited query, and an answer as long."""

    __slots__ = ()

    curriculum_start: ClassVar[int] = 3
    extra_channels: ClassVar[int] = 2

    item_length: int

    def __post_init__(self) -> None:
        BitTask.__post_init__(self)
        check_whole("item_length", self.item_length, 1)
        bits, most = self.item_length * self.bits, self.level_settings[1]
        if self.levels[1] > count_codes(bits):
            raise ConfigError(
                f"{most}: expected at most 2^{bits}={2**bits}, the number of different items of "
                f"item_length * bits = {bits} bits, got {self.levels[1]}"
            )

    def _distinct(self, count: int, batch_size: int, generator: torch.Generator) -> Tensor:
        """Draws items that differ within a sequence, [count, item_length, batch_size, bits]."""
        flat = distinct_bits(count, batch_size, self.item_length * self.bits, generator)
        return flat.view(count, batch_size, self.item_length, self.bits).transpose(1, 2)

    def _laid_out(self, records: Tensor, *, query: Tensor, answer: Tensor) -> Batch:
        """Writes delimited records, a delimited query and an empty answer into one batch.

        Args:
            records: what is to be remembered, [n, rows per record, B, bits].
            query: [B, item_length, bits].
            answer: [B, item_length, bits].
        """
        count, rows, batch_size, bits = records.shape
        query_start, length = count * (1 + rows), self.item_length
        batch = self._empty(count, query_start + 2 + 2 * length, answer.transpose(0, 1))
        shown = batch.inputs[:query_start].view(count, 1 + rows, batch_size, bits + 2)
        shown[:, 0, :, bits] = 1.0
        shown[:, 1:, :, :bits] = records
        asked = batch.inputs[query_start : query_start + 2 + length]
        asked[[0, -1], :, bits + 1] = 1.0
        asked[1:-1, :, :bits] = query.transpose(0, 1)
        return batch


@dataclass(frozen=True, kw_only=True, slots=True)
class NextItemRecall(_Recall):
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
    level_settings: ClassVar[tuple[str, str]] = "min_items", "max_items"
    slice_name: ClassVar[str] = "items"

    min_items: int = 2
    max_items: int = 6
    item_length: int = 3
    bits: int = 6

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        items = self._distinct(level, batch_size, generator)
        query = torch.randint(level - 1, (batch_size,), generator=generator)
        rows = torch.arange(batch_size)
        return self._laid_out(items, query=items[query, :, rows], answer=items[query + 1, :, rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyValueRecall(_Recall):
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

    level_settings: ClassVar[tuple[str, str]] = "min_pairs", "max_pairs"
    slice_name: ClassVar[str] = "pairs"

    min_pairs: int = 3
    max_pairs: int = 6
    item_length: int = 3
    bits: int = 6

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        keys = self._distinct(level, batch_size, generator)
        values = random_bits(tuple(keys.shape), generator)
        query = torch.randint(level, (batch_size,), generator=generator)
        rows = torch.arange(batch_size)
        pairs = torch.cat([keys, values], dim=1)
        return self._laid_out(pairs, query=keys[query, :, rows], answer=values[query, :, rows])
