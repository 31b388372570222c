"""`ShardedBase`: a base that several processes hold together, each of them a part."""

import struct
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from index.base.in_shards import BaseInShards
from index.base.manifest import Manifest, read_manifest
from index.base.memory import BaseMemory
from index.base.merge import best_of_parts
from index.base.rounds import AGREE, NOTHING, SEARCH, WORDS, Asked, Rounds
from index.errors import FileFormatError
from index.neighbors import Neighbors

TIMEOUT = timedelta(minutes=10)
_DTYPES = torch.float32, torch.float64
# Bytes of words that come along with what a search finds, at most.
_AHEAD = 2**20


class ShardedBase(BaseInShards):
    """Words that processes of `torch.distributed` share, each with a shard of them in its memory.

    Under torchrun all processes open the same folder, rank r its shard r, and have one base of all
    words: a search gathers the queries of all ranks, each rank searches its shard for them, and
    each gets the best of all shards for its own. Batch sizes, queries and k may differ between
    ranks.

    **All processes must call in step**: as often as one of them opens a base, searches it, fetches
    words, or takes a step of a model over it, each other one does so, with at least one query. A
    rank that has less to do takes part with other queries, or with `skip`. It is then noticed if
    they do different things, and that they wait for nobody who comes is told after `timeout`.

    Scores are merged as they are, equal ones by slot. The words of what was found come along with
    it, so that fetching them asks nobody again.

    Attributes:
        path: of the folder.
        shard: this rank's own part, whose slots begin at `first_slot`.
    """

    in_step: ClassVar[bool] = True

    def __init__(self, path: Path, manifest: Manifest, shard: BaseMemory, rounds: Rounds) -> None:
        super().__init__(path, manifest)
        self.shard, self._rounds = shard, rounds
        self._starts = torch.tensor(manifest.starts)
        self.first_slot = manifest.starts[rounds.rank]
        self._end = manifest.starts[rounds.rank + 1]
        self._ahead: tuple[Tensor, Tensor] = self._starts[:0], torch.empty(0, self.word_size)

    @classmethod
    def open(
        cls, path: str | Path, *, check: bool = False, timeout: timedelta = TIMEOUT
    ) -> "ShardedBase":
        """Maps this rank's shard into memory; all ranks have to.

        Args:
            path: the folder that `reshard` has written, or a base in one piece for one process.
            check: as `BaseMemory.open`, of this rank's shard.
            timeout: how long to wait for another process. That one has ended is noticed at once.

        Raises:
            FileNotFoundError, FileFormatError: as `BaseMemory.open`; or there are not as many
                shards as processes.
            RanksError: another process does not open the same shards.
        """
        path = Path(path).resolve()
        manifest = read_manifest(path)
        rounds = Rounds(timeout, manifest.cut)
        if rounds.count != len(manifest.shards):
            raise FileFormatError(
                f"{path}: expected as many shards as processes, {rounds.count}, got "
                f"{len(manifest.shards)}; python -m sam base shard {path} --shards {rounds.count}"
            )
        base = cls(path, manifest, manifest.opened(path, rounds.rank, check=check), rounds)
        base.wanted(False)  # raises, if others have other shards
        return base

    @property
    def nbytes(self) -> int:
        """Bytes of the files of this rank's shard."""
        return self.shard.nbytes

    @property
    def resident(self) -> int:
        """Bytes of them that lie in memory now."""
        return self.shard.resident

    def __repr__(self) -> str:
        size = f"num_words={self.num_words}, word_size={self.word_size}, dtype={self.dtype!r}"
        part = f"rank {self._rounds.rank} of {self._rounds.count}"
        return f"ShardedBase({str(self.path)!r}, {size}, index={self.index!r}, {part})"

    def skip(self) -> None:
        """Takes part in a search or a fetch of the others, without a question of its own."""
        self._round(NOTHING)

    def wanted(self, more: bool) -> bool:
        """Whether this rank or any other one wants to go on; all get the same answer."""
        return any(one.numbers[0] for one in self._rounds.ask(AGREE, (int(more),)))

    def nearest(
        self, queries: Tensor, k: int, root_eps: Tensor, *, exact: bool = False
    ) -> Neighbors:
        device, own = queries.device, queries.detach().cpu().contiguous()
        existing, size = min(k, self.num_words), own.element_size() * self.word_size
        ahead = len(own) * existing * size <= _AHEAD
        numbers = len(own), existing, _DTYPES.index(own.dtype), exact + 2 * ahead
        parts = self._round(SEARCH, (*numbers, _bits(float(root_eps))), own.view(-1))
        found = [_Found.of(part, len(own), existing, own.dtype, size * ahead) for part in parts]
        near = best_of_parts([Neighbors(part.slots, part.scores) for part in found], k)
        if ahead:
            slots = torch.cat([part.slots for part in found], 1)
            words = torch.cat([part.words for part in found], 1)
            self._keep(slots, words.view(*slots.shape, self.word_size))
        return Neighbors(*(part.to(device) for part in near))

    def _keep(self, slots: Tensor, words: Tensor) -> None:
        """Remembers the words that came along, in the order of their slots."""
        flat, order = slots.flatten().sort()
        self._ahead = flat, words.flatten(0, 1)[order]

    def _fetch(self, slots: Tensor, dtype: torch.dtype) -> Tensor:
        found = torch.empty(len(slots), self.word_size, dtype=dtype)
        here = (slots >= self.first_slot) & (slots < self._end)
        if bool(here.any()):
            found[here] = self.shard.words_at(slots[here] - self.first_slot, dtype=dtype)
        known, words = self._ahead
        if len(known) and words.dtype == dtype:
            place = torch.searchsorted(known, slots).clamp_(max=len(known) - 1)
            came = (known[place] == slots) & ~here
            found[came] = words[place[came]]
            here |= came
        asked, back = slots[~here].unique(return_inverse=True)
        parts = self._round(WORDS, (len(asked), _DTYPES.index(dtype)), asked)
        if len(asked):
            got = torch.cat([_as(part, dtype).view(-1, self.word_size) for part in parts])
            found[~here] = got[back]
        return found

    # What the ranks ask one another.

    def _round(
        self, kind: int, numbers: Sequence[int] = (), data: Tensor | None = None
    ) -> list[Tensor]:
        """Asks all ranks, answers them, and returns their answers."""
        asked = self._rounds.ask(kind, numbers, None if data is None else _bytes(data))
        every = [one if one.kind != NOTHING else one._replace(numbers=(0,) * 5) for one in asked]
        if not any(one.numbers[0] for one in every):
            return [torch.empty(0, dtype=torch.uint8) for _ in every]
        mine = every[self._rounds.rank]
        if any(one.kind == SEARCH for one in every):
            return self._rounds.answered(self._searched(every), self._search_sizes(mine))
        starts = _as(mine.data, torch.int64) if mine.numbers[0] else self._starts[:0]
        places = torch.searchsorted(starts.contiguous(), self._starts)
        row = self.word_size * _DTYPES[mine.numbers[1]].itemsize
        sizes = ((places[1:] - places[:-1]) * row).tolist()
        return self._rounds.answered([self._words_for(one) for one in every], sizes)

    def _search_sizes(self, mine: Asked) -> list[int]:
        """Bytes that each rank answers to this one's search."""
        count, k, dtype, how, _ = mine.numbers
        width = _DTYPES[dtype].itemsize
        row = 8 + width + (self.word_size * width if how & 2 else 0)
        return [count * k * row] * self._rounds.count

    def _searched(self, every: list[Asked]) -> list[Tensor]:
        """What this shard has for all ranks, those that search alike in one go."""
        answers = [torch.empty(0, dtype=torch.uint8) for _ in every]
        alike: dict[tuple[int, ...], list[int]] = {}
        for rank, one in enumerate(every):
            if one.numbers[0]:
                _, _, dtype, how, eps = one.numbers
                alike.setdefault((dtype, how & 1, eps), []).append(rank)
        for (dtype, exact, eps), ranks in alike.items():
            kind, most = _DTYPES[dtype], max(every[rank].numbers[1] for rank in ranks)
            queries = [_as(every[rank].data, kind).view(-1, self.word_size) for rank in ranks]
            root_eps = torch.tensor(_number(eps), dtype=kind)
            near = self.shard.nearest(torch.cat(queries), most, root_eps, exact=bool(exact))
            counts = [len(part) for part in queries]
            split = zip(*(part.split(counts) for part in near), strict=True)
            for rank, (slots, scores) in zip(ranks, split, strict=True):
                _, k, _, how, _ = every[rank].numbers
                answers[rank] = self._answer(slots[:, :k], scores[:, :k], bool(how & 2))
        return answers

    def _answer(self, slots: Tensor, scores: Tensor, ahead: bool) -> Tensor:
        there = slots >= 0
        parts = [slots.where(~there, slots + self.first_slot), scores]
        if ahead:
            parts.append(self.shard.words_at(slots, dtype=scores.dtype))
        return torch.cat([_bytes(part) for part in parts])

    def _words_for(self, one: Asked) -> Tensor:
        """Those words of a rank's question that this shard has, in the order of slots."""
        if not one.numbers[0]:
            return torch.empty(0, dtype=torch.uint8)
        slots, dtype = _as(one.data, torch.int64), _DTYPES[one.numbers[1]]
        own = slots[(slots >= self.first_slot) & (slots < self._end)]
        return _bytes(self.shard.words_at(own - self.first_slot, dtype=dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (str(self.path), self.identity)


class _Found:
    """What a shard answers to a search, [Q, k] each, and words [Q, k W] or [Q, 0]."""

    def __init__(self, slots: Tensor, scores: Tensor, words: Tensor) -> None:
        self.slots, self.scores, self.words = slots, scores, words

    @classmethod
    def of(cls, data: Tensor, count: int, k: int, dtype: torch.dtype, word_bytes: int) -> "_Found":
        sizes = 8 * count * k, dtype.itemsize * count * k, word_bytes * count * k
        slots, scores, words = data[: sum(sizes)].split(sizes)
        return cls(
            _as(slots, torch.int64).view(count, k),
            _as(scores, dtype).view(count, k),
            _as(words, dtype).view(count, -1) if count else torch.empty(0, 0, dtype=dtype),
        )


def _bytes(part: Tensor) -> Tensor:
    return part.contiguous().view(-1).view(torch.uint8)


def _as(data: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes as numbers; a copy, which begins where numbers may."""
    return data.clone().view(dtype)


def _bits(number: float) -> int:
    """A float64 as an integer of the same bits."""
    return struct.unpack("<q", struct.pack("<d", number))[0]


def _number(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<q", bits))[0]


def _reopened(path: str, identity: str) -> ShardedBase:
    """The base of a pickle; all ranks have to open it.

    Raises:
        FileFormatError: another one has come to its place.
    """
    base = ShardedBase.open(path)
    if base.identity != identity:
        raise FileFormatError(f"{path}: expected the base {identity}, got {base.identity}")
    return base
