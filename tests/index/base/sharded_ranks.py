"""What each process does in the tests of `ShardedBase`, whose module these processes import."""

import os
import signal
from datetime import timedelta
from itertools import product

import torch
from torch import Tensor, distributed

from index import BaseMemory, RanksError, ShardedBase, make_index
from tests.memory.base_episodes import FORMS, INPUTS, assert_same, make_model, normal, run

COUNT, W = 301, 6


def words_of(count: int = COUNT) -> Tensor:
    """Words of which some are equal, so that there are ties between shards."""
    words = torch.randn(count, W, generator=torch.Generator().manual_seed(1))
    words[count // 2 + 7] = words[3]
    words[-1] = words[3]
    return words


def queries_of(rank: int, count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, W, generator=torch.Generator().manual_seed(rank), dtype=dtype)


def same(found, expected, dtype: torch.dtype) -> None:
    near = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found.scores, expected.scores, rtol=near, atol=near)
    slots, by_slot = expected.slots.sort(dim=-1)  # equal scores may stand in another order there
    order = expected.scores.gather(-1, by_slot).sort(stable=True, dim=-1, descending=True).indices
    assert torch.equal(found.slots, slots.gather(-1, order)), (found.slots, expected.slots)


def everything(whole_path: str, shards: str) -> None:
    """All checks; at the end rank 1 ends without a word, and rank 0 is told."""
    whole, rank = BaseMemory.open(whole_path), distributed.get_rank()
    base = ShardedBase.open(shards, timeout=timedelta(seconds=60))
    assert (len(base), base.word_size, base.metric) == (COUNT, W, "cosine")
    assert base.identity == whole.identity and len(base.shard) < COUNT
    searches(whole, base, rank)
    fetches(whole, base, rank)
    layers(whole, base, rank)
    models(whole, base, rank)
    out_of_step(base, rank)
    one_is_killed(base, rank)


def searches(whole: BaseMemory, base: ShardedBase, rank: int) -> None:
    """Different queries, k, dtypes and options on each rank."""
    for dtypes in ((torch.float64, torch.float64), (torch.float32, torch.float64)):
        dtype = dtypes[rank]
        for exact, k in ((False, 4 + 3 * rank), (bool(rank), 1), (False, 2 * COUNT)):
            queries = queries_of(rank, 3 - rank, dtype)
            eps = 0.1 * rank
            found = base.search(queries, k, norm_eps=eps, exact=exact)
            same(found, whole.search(queries, k, norm_eps=eps), dtype)
    alike = base.search(words_of()[3:4].double(), 3)
    slots, scores = alike.slots[0].tolist(), alike.scores[0].tolist()
    assert sorted(slots) == [3, COUNT // 2 + 7, COUNT - 1]
    # Of equal words a product may round some scores in another way than others.
    pairs = [*zip(scores, slots, strict=True)]
    assert pairs == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
    torch.testing.assert_close(alike.scores, torch.ones(1, 3, dtype=torch.float64))
    if rank:
        base.skip()
    else:
        same(base.search(queries_of(5, 2), 3), whole.search(queries_of(5, 2), 3), torch.float64)
    assert base.wanted(rank == 1) and not base.wanted(False)


def fetches(whole: BaseMemory, base: ShardedBase, rank: int) -> None:
    slots = torch.tensor([[COUNT - 1, 0, -1], [150, 151, 0]])[:, rank:]
    for dtype in (torch.float32, torch.float64):
        found = base.words_at(slots, dtype=dtype)
        assert torch.equal(found, whole.words_at(slots, dtype=dtype))
    near = base.search(queries_of(rank, 4), 5)
    asked = []
    ask = base._rounds.ask
    base._rounds.ask = lambda *given: (asked.append(given[1][0]), ask(*given))[1]
    found = base.words_at(near.slots, dtype=torch.float64)
    assert asked == [0], "words that came along with a search are not asked for"
    assert torch.equal(found, whole.words_at(near.slots, dtype=torch.float64))
    base._rounds.ask = ask
    if rank:
        base.skip()
    else:
        assert torch.equal(base.words_at(slots[:0]), torch.zeros(0, 3, W))
    if rank:
        base.skip()
    else:
        assert torch.equal(base.words_at(slots), whole.words_at(slots))


def layers(whole: BaseMemory, base: ShardedBase, rank: int) -> None:
    """An index over it; rank 1 hides so many words that it has to ask repeatedly."""
    rows, kind = 2 + rank, {"capacity": COUNT + 9, "word_size": W, "dtype": torch.float64}
    made = [make_index("exact", base=one, batch_size=rows, **kind) for one in (base, whole)]
    queries = queries_of(7 + rank, 5 * rows).view(rows, 5, W)

    def check() -> None:
        one, other = (index.search(queries, 3) for index in made)
        same(one, other, torch.float64)

    check()
    near = whole.search(queries[0, 0], 80 if rank else 2).slots
    far = (0.1 * queries_of(9, len(near)) - queries[0, 0]).expand(rows, -1, -1)
    for index in made:
        index.remove(near[: len(near) // 2].expand(rows, -1))
        index.update(near[len(near) // 2 :].expand(rows, -1), far[:, len(near) // 2 :])
        index.update(torch.full((rows, 1), COUNT), queries[:, :1])
    skipped = []
    base.skip = lambda: (skipped.append(1), ShardedBase.skip(base))[1]
    check()
    assert bool(skipped) == (rank == 0), "the rank that hides more has to ask again"
    for index in made:
        index.reset(torch.arange(rows) <= rank)
    check()
    for index in made:
        index.reset()  # nothing of the base is seen any more
    check()
    for index in made:
        if rank:
            index.begin()
    check()


def models(whole: BaseMemory, base: ShardedBase, rank: int) -> None:
    """Values and gradients of models whose batches differ, with and without writes to the base."""
    for kind, form, writes in product(("sam", "sdnc"), FORMS, (True, False)):
        # Each row has used up its own words at another step, and then writes over the base.
        model = make_model(kind, COUNT + (5 if writes else 12), form)
        inputs = normal(12, 2 + rank, INPUTS, seed=rank)
        start = [
            model.initial_state(2 + rank, base=one, base_writes=writes) for one in (base, whole)
        ]
        found, expected = (run(model, state, inputs, form) for state in start)
        assert_same(found, expected)
        if writes:
            assert bool((found.slots < COUNT).any())
        # Rows of different ages: some begin anew meanwhile.
        starts = torch.zeros(12, 2 + rank, dtype=torch.bool)
        starts[4 + rank, :1] = starts[9, 1:] = True
        start = [
            model.initial_state(2 + rank, base=one, base_writes=writes) for one in (base, whole)
        ]
        assert_same(*(run(model, state, inputs, form, starts=starts) for state in start))
    parts = found.state.state_dict()
    assert model.load_state(parts, base=whole) is not None


def out_of_step(base: ShardedBase, rank: int) -> None:
    """All ranks are told, instead of one waiting for an answer to another question."""
    try:
        base.search(queries_of(0, 1), 1) if rank else base.words_at(torch.tensor([0, COUNT - 1]))
    except RanksError as error:
        expected = "in step, got rank 0 to fetch words, rank 1 to search"
        assert expected in str(error), error
    else:
        raise AssertionError("expected an error")


def one_is_killed(base: ShardedBase, rank: int) -> None:
    if rank:
        os.kill(os.getpid(), signal.SIGKILL)
    for _ in range(2):
        try:
            base.search(queries_of(0, 1), 1)
        except RanksError as error:
            expected = "base: rank 0 expected an answer of all 2 processes within 60 s, got none"
            assert str(error).startswith(expected) and "\n" not in str(error), error
        else:
            raise AssertionError("expected an error")
