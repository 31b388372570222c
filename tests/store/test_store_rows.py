"""Rows of word stores: values and gradients against tensors that are indexed out of place."""

from random import Random

import pytest
import torch
from torch import Tensor

from sam.errors import ShapeError, StaleStateError
from sam.ops import WordStore

N, W = 200, 3


class Twin:
    """A store, and the same words as one differentiable tensor [B, N, W]."""

    def __init__(self, store: WordStore, words: Tensor) -> None:
        self.store, self.words = store, words

    @classmethod
    def empty(cls, batch_size: int) -> "Twin":
        store = WordStore(batch_size, N, W, dtype=torch.float64)
        return cls(store, torch.zeros(batch_size, N, W, dtype=torch.float64))


class Program:
    """Random writes, reads and moves of rows, on several stores with a common past."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.twins = [Twin.empty(3)]
        self.losses: list[tuple[Tensor, Tensor]] = []
        self.leaves: list[tuple[Tensor, Tensor]] = []

    def slots(self, twin: Twin, count: int) -> Tensor:
        high = self.chance.choice([4, 40, N])  # so that some stores grow, and some layouts differ
        size = twin.store.batch_size, count
        return torch.randint(0, high, size, generator=self.generator)

    def write(self, twin: Twin) -> None:
        slots = self.slots(twin, 3)
        words = torch.randn(*slots.shape, W, generator=self.generator, dtype=torch.float64)
        mine, theirs = words.clone().requires_grad_(), words.requires_grad_()
        self.leaves.append((mine, theirs))
        erased = self.slots(twin, 2)
        rows = torch.arange(len(slots))[:, None]
        twin.store = twin.store.erase(erased).add(slots, mine)
        blank = twin.words.index_put((rows, erased), torch.zeros(W, dtype=torch.float64))
        twin.words = blank.index_put((rows, slots), theirs, accumulate=True)

    def read(self, twin: Twin) -> None:
        slots = self.slots(twin, 4)
        found, twin.store = twin.store.read(slots)
        wanted = twin.words[torch.arange(len(slots))[:, None], slots]
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
        weights = torch.randn(wanted.shape, generator=self.generator, dtype=torch.float64)
        self.losses.append(((found * weights).sum(), (wanted * weights).sum()))

    def pick(self, twin: Twin) -> None:
        size = twin.store.batch_size
        rows = torch.tensor([self.chance.randrange(size) for _ in range(self.chance.randint(1, 4))])
        used = twin.words.detach()[rows].ne(0).any(2).any(0).nonzero()
        # What was never written, or erased at the end, need not be told from what is beyond.
        bound = self.chance.choice([None, int(used[-1]) + 1 if len(used) else 0])
        self.twins.append(Twin(twin.store.rows(rows, bound), twin.words[rows]))

    def join(self, twin: Twin) -> None:
        other = self.chance.choice(self.twins)
        joined = WordStore.cat([twin.store, other.store])
        self.twins.append(Twin(joined, torch.cat([twin.words, other.words])))

    def put(self, twin: Twin) -> None:
        other = self.chance.choice(self.twins)
        size = other.store.batch_size
        if other is twin or size > twin.store.batch_size:
            return
        rows = torch.tensor(self.chance.sample(range(twin.store.batch_size), size))
        twin.store = twin.store.put(rows, other.store)
        twin.words = twin.words.index_copy(0, rows, other.words)

    def fork(self, twin: Twin) -> None:
        self.twins.append(Twin(twin.store.clone(), twin.words))

    def run(self, count: int) -> None:
        operations = [self.write, self.write, self.read, self.pick, self.join, self.put, self.fork]
        for _ in range(count):
            if len(self.twins) > 4:
                self.twins.pop(self.chance.randrange(5))
            self.chance.choice(operations)(self.chance.choice(self.twins))
        for twin in self.twins:
            self.read(twin)


@pytest.mark.parametrize("seed", range(40))
def test_gradients_flow_to_where_rows_came_from(seed: int) -> None:
    program = Program(seed)
    program.run(25)
    mine, theirs = (torch.stack(parts).sum() for parts in zip(*program.losses, strict=True))
    if not theirs.requires_grad:
        return
    mine.backward()
    theirs.backward()
    for found, wanted in program.leaves:
        expected = torch.zeros_like(wanted) if wanted.grad is None else wanted.grad
        given = torch.zeros_like(found) if found.grad is None else found.grad
        torch.testing.assert_close(given, expected, rtol=1e-12, atol=1e-12)


def test_a_second_backward_pass_is_refused() -> None:
    store = WordStore(2, 8, W, dtype=torch.float64)
    slots = torch.tensor([[0], [1]])
    store = store.add(slots, torch.ones(2, 1, W, dtype=torch.float64, requires_grad=True))
    rows = store.rows(torch.tensor([1]))
    rows.read(slots[:1])[0].sum().backward()
    with pytest.raises(StaleStateError, match="one backward pass"):
        store.read(slots)[0].sum().backward()


def test_handles_on_the_same_words_are_not_put_together() -> None:
    store = WordStore(2, 8, W)
    with pytest.raises(ShapeError, match="another state"):
        store.put(torch.tensor([0, 1]), store.detach())
    fresh = store.rows(torch.tensor([0]))
    store = store.put(torch.tensor([1]), fresh)
    fresh.check()
    store.check()
