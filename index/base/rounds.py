"""Questions that processes ask one another, in rounds: all of them take part in each."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed

from index.errors import RanksError

NOTHING, SEARCH, WORDS, AGREE = range(4)
_NAMES = "ask nothing", "search", "fetch words", "agree on going on"

_NUMBERS = 8  # int64, in front of what a process asks
_HEAD = 8 * _NUMBERS
# Bytes of a question that go along with its numbers, at most.
_MOST_ALONG = 2**16


class Asked(NamedTuple):
    """What a process asks."""

    kind: int
    numbers: tuple[int, ...]  # five of them, whose meaning the kind says
    data: Tensor  # uint8 [bytes]


class Rounds:
    """Has processes ask all others, and answer each one.

    A round is one all-gather, of numbers and as many bytes as the rounds before needed, another one
    if these are too few, and one all-to-all of the answers.

    Args:
        timeout: how long to wait for the others.
        cut: a number of 63 bits that all processes should have.

    Raises:
        RanksError: another process does not take part.
    """

    def __init__(self, timeout: timedelta, cut: int) -> None:
        self._cut, self._along, self._failed = cut, 0, ""
        self._seconds = timeout.total_seconds()
        self.rank, self.count, self._group = 0, 1, None
        if distributed.is_available() and distributed.is_initialized():
            self.rank, self.count = distributed.get_rank(), distributed.get_world_size()
        if self.count > 1:
            new: Callable[..., Any] = distributed.new_group
            self._group = self._tried(lambda: new(backend="gloo", timeout=timeout))

    def ask(
        self, kind: int, numbers: Sequence[int] = (), data: Tensor | None = None
    ) -> list[Asked]:
        """Tells all processes what this one asks.

        Args:
            kind: `NOTHING` goes with any other kind, which has to be the same of all.
            numbers: at most five.
            data: bytes, uint8 [n], of the CPU.

        Returns:
            What each process asks, by rank.

        Raises:
            RanksError: a process has ended or does not answer in time; or the kinds differ.
        """
        data = torch.empty(0, dtype=torch.uint8) if data is None else data
        own = [kind, self._cut, len(data), *numbers]
        head = torch.tensor(own + [0] * (_NUMBERS - len(own))).view(torch.uint8)
        along = self._along
        told = self._gathered(torch.cat((head, data[:along])), _HEAD + along)
        heads = told[:, :_HEAD].clone(memory_format=torch.contiguous_format)
        heads = heads.view(torch.int64).tolist()
        sizes = [size for _, _, size, *_ in heads]
        parts = told[:, _HEAD:]
        if max(sizes) > along:
            rest = self._gathered(data[along:], max(sizes) - along)
            parts = torch.cat((parts, rest), 1)
        # All processes come to the same number.
        self._along = min(max(*sizes, along // 2), _MOST_ALONG)
        self._check([head[0] for head in heads], [head[1] for head in heads])
        return [
            Asked(kind, tuple(numbers), part[:size].clone())
            for (kind, _, size, *numbers), part in zip(heads, parts, strict=True)
        ]

    def answered(self, answers: list[Tensor], sizes: list[int]) -> list[Tensor]:
        """Sends each process its answer.

        Args:
            answers: uint8 [bytes], by rank.
            sizes: bytes of what this process gets from each.

        Returns:
            The answers of all processes to this one, by rank.

        Raises:
            RanksError: a process has ended or does not answer in time.
        """
        if self._group is None:
            return answers
        sent, got = torch.cat(answers), torch.empty(sum(sizes), dtype=torch.uint8)
        lengths, group = [len(answer) for answer in answers], self._group
        self._tried(lambda: distributed.all_to_all_single(got, sent, sizes, lengths, group=group))
        return [*got.split(sizes)]

    def _gathered(self, data: Tensor, size: int) -> Tensor:
        """What all processes have, of `size` bytes with zeros behind it, [R, size]."""
        own = torch.zeros(size, dtype=torch.uint8)
        own[: len(data)] = data
        if self._group is None:
            return own.unsqueeze(0)
        every = torch.empty(self.count, size, dtype=torch.uint8)
        self._tried(lambda: distributed.all_gather([*every.unbind()], own, group=self._group))
        return every

    def _tried(self, action: Callable[[], Any]) -> Any:
        """What an action of torch.distributed returns; after it has failed once there is none."""
        if self._failed:
            raise RanksError(self._failed)
        try:
            return action()
        except RuntimeError as error:
            self._failed = (
                f"base: rank {self.rank} expected an answer of all {self.count} processes within "
                f"{self._seconds:g} s, got none from one that has ended or hangs"
            )
            raise RanksError(self._failed) from error

    def _check(self, kinds: list[int], cuts: list[int]) -> None:
        if len(set(cuts)) > 1:
            raise RanksError("base: expected all processes to open the same shards, got others")
        if len(set(kinds) - {NOTHING}) > 1:
            each = ", ".join(f"rank {rank} to {_NAMES[kind]}" for rank, kind in enumerate(kinds))
            raise RanksError(f"base: expected all processes to call in step, got {each}")
