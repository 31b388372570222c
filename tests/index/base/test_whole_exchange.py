"""An exchange over a base in one compiled call finds what it does in several, and hides alike."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from index import (
    BaseMemory,
    FileFormatError,
    IndexConfig,
    NonFiniteError,
    make_index,
    recall_at_k,
)
from index.base.whole_exchange import WholeExchange
from index.bench.word_sources import ClusteredWords, copies
from index.compiled import use_compiled
from tests.index.oracle import FORMS

pytestmark = pytest.mark.skipif(len(FORMS) < 2, reason="needs numba")
N, W, B = 3000, 12, 3


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, BaseMemory]:
    folder, made = tmp_path_factory.mktemp("bases"), {}
    random = torch.Generator().manual_seed(1)
    words = ClusteredWords(1, N, W, generator=random).draw(N)[0]
    words *= torch.rand(N, 1, generator=random) + 0.5
    for recall in (0.9, 1.0):
        path = folder / str(recall)
        made[recall] = BaseMemory.create(path, words, index="ivf", dtype="float16", recall=recall)
    return made


def layered(base: BaseMemory, **options: Any) -> Any:
    sizes: Any = {"batch_size": B, "capacity": 2 * N, "word_size": W}
    index = make_index(IndexConfig(kind="exact", **options), base=base, **sizes)
    index.reserve(2 * N)
    return index


def given(base: BaseMemory, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Slots, half of them of the base, some repeatedly or none; words, and queries near words."""
    slots = torch.randint(2 * N, (B, 5), generator=random)
    slots[:, 4] = slots[:, 1]
    slots[0, 0] = -1
    words = torch.randn(B, 5, W, generator=random)
    words[:, 4] = words[:, 1]
    asked = torch.randint(N, (B, 2), generator=random)
    return slots, words, copies(base.words_at(asked), 0.2, generator=random)


def uses(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether exchanges were made in one call, as they come."""
    told: list[bool] = []
    whole = WholeExchange.exchange

    def exchange(self: Any, *given: Any) -> Any:
        found = whole(self, *given)
        told.append(found is not None)
        return found

    monkeypatch.setattr(WholeExchange, "exchange", exchange)
    return told


@pytest.mark.parametrize("k", [1, 4, 9])
@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_it_is_what_several_calls_find(bases, monkeypatch, k: int, eps: float) -> None:
    random = torch.Generator().manual_seed(k)
    base = bases[1.0]  # all lists are looked into, so that nothing depends on which
    one, plain = layered(base, norm_eps=eps), layered(base, norm_eps=eps)
    told = uses(monkeypatch)
    for step in range(24):
        some = given(base, random)
        if step % 8 == 5:
            gone = torch.randint(2 * N, (B, 40), generator=random)
            one.remove(gone)
            plain.remove(gone)
        if step == 12:  # a row sees the base again, another one sees nothing of it
            for index in (one, plain):
                index.begin(torch.arange(B) == 1)
                index.reset(torch.arange(B) == 2)
        if step == 18:
            one, plain = copy.deepcopy(one), plain.rows(torch.arange(B))
            plain.reserve(2 * N)
        if step == 21:
            one.put(torch.tensor([0]), plain.rows(torch.tensor([1])))
            plain.put(torch.tensor([0]), plain.rows(torch.tensor([1])))
        found = one.exchange(*some, k)
        with use_compiled(False):
            expected = plain.exchange(*some, k)
        assert torch.equal(found.slots, expected.slots)
        torch.testing.assert_close(found.scores, expected.scores)
        assert torch.equal(one.occupancy, plain.occupancy) and one._in_use == plain._in_use
        # What follows in other forms knows what was written.
        after = one.search(some[2], k)
        assert torch.equal(after.slots, expected.slots)
    assert len(told) == 48 and sum(told) == 24


def test_words_that_were_read_and_hidden_are_never_found(bases, monkeypatch) -> None:
    """A query whose nearest words are hidden again and again goes on to others, until the last."""
    random = torch.Generator().manual_seed(5)
    base = bases[0.9]
    index, told = layered(base), uses(monkeypatch)
    queries = copies(base.words_at(torch.tensor([[1], [20], [300]])), 0.1, generator=random)
    seen: list[set[int]] = [set() for _ in range(B)]
    slots, words = torch.full((B, 4), -1), torch.zeros(B, 4, W)
    for _ in range(150):
        found = index.exchange(slots, words, queries, 4)
        assert (found.slots >= 0).all() and (found.scores.diff(dim=2) <= 0).all()
        for b in range(B):
            mine = {*found.slots[b, 0].tolist()}
            assert len(mine) == 4 and not mine & seen[b] and max(mine) < N
            seen[b] |= mine
        slots, words = found.slots[:, 0], -4 * queries.expand(B, 4, W)
    assert any(told) and not all(told)  # where lists have no more, other forms look into more


def test_most_of_the_true_ones_are_found(bases) -> None:
    random = torch.Generator().manual_seed(6)
    base = bases[0.9]
    index, hits = layered(base), []
    for _ in range(40):
        some = given(base, random)
        found = index.exchange(*some, 4)
        hits.append(recall_at_k(found, index.search_exact(some[2], 4)).mean())
    assert torch.stack(hits).mean() > 0.85


def test_what_is_wrong_is_said_and_changes_nothing(bases) -> None:
    random = torch.Generator().manual_seed(7)
    index = layered(bases[0.9])
    slots, words, queries = given(bases[0.9], random)
    before = index.exchange(slots, words, queries, 4)
    for wrong in (-2, 2 * N):
        high = slots.clone()
        high[1, 2] = wrong
        with pytest.raises(ValueError, match="slots"):
            index.exchange(high, words, queries, 4)
    with pytest.raises(NonFiniteError, match="words"):
        index.exchange(slots, words.log(), queries, 4)
    again = index.exchange(torch.full_like(slots, -1), words, queries, 4)
    assert torch.equal(again.slots, before.slots)


def test_pages_are_asked_for_and_orders_are_checked(bases, tmp_path: Path) -> None:
    import shutil

    random = torch.Generator().manual_seed(8)
    some = given(bases[0.9], random)
    expected = layered(bases[0.9]).exchange(*some, 4)
    for name in ("slot_of.npy", "row_of.npy"):
        path = tmp_path / name
        shutil.copytree(bases[0.9].path, path)
        base = BaseMemory.open(path)  # of which no page was asked for yet
        found = layered(base).exchange(*some, 4)
        assert torch.equal(found.slots, expected.slots)
        data = bytearray((path / name).read_bytes())
        data[128:] = b"\xff" * (len(data) - 128)
        (path / name).write_bytes(data)
        with pytest.raises(FileFormatError, match=name):
            layered(BaseMemory.open(path)).exchange(*some, 4)


def test_more_pages_than_the_system_may_keep_are_asked_for_once(bases) -> None:
    """Each call goes on with what it asked for, even if more than half of the memory is needed."""
    random = torch.Generator().manual_seed(12)
    cold, calls = BaseMemory.open(bases[0.9].path), []
    for file in cold._opened._mapped:
        file._most_asked = 1
        file._announce = lambda pages, ask=file._announce: (calls.append(len(pages)), ask(pages))
    index, warm = layered(cold), layered(bases[0.9])
    for _ in range(5):
        some, count = given(bases[0.9], random), len(calls)
        assert torch.equal(index.exchange(*some, 4).slots, warm.exchange(*some, 4).slots)
        assert len(calls) - count <= 8
    assert max(calls) > 1


def test_damaged_orders_leave_no_place_uncounted(bases, tmp_path: Path) -> None:
    """Whoever goes on after the error finds tables with room, however often."""
    import shutil

    random = torch.Generator().manual_seed(9)
    path = tmp_path / "base"
    shutil.copytree(bases[0.9].path, path)
    data = bytearray((path / "row_of.npy").read_bytes())
    data[128:] = b"\xff" * (len(data) - 128)
    (path / "row_of.npy").write_bytes(data)
    index = layered(BaseMemory.open(path))
    for _ in range(20):
        slots, words, queries = given(bases[0.9], random)
        with pytest.raises(FileFormatError, match="row_of"):
            index.exchange(slots, words, queries, 4)
        assert index._map.most == int(index._map.counts.max()) == index._overlay._in_use
    own = torch.arange(N, N + 5).expand(B, -1)
    index.begin()
    index.reserve(2 * N)
    words = torch.randn(B, 5, W, generator=random)
    assert torch.equal(index.exchange(own, words, words, 4).slots[:, :, 0], own)


def test_float64_takes_other_forms_even_if_compiled_ones_are_asked_for(bases) -> None:
    sizes: Any = {"batch_size": B, "capacity": 2 * N, "word_size": W, "base": bases[1.0]}
    for dtype in (torch.float32, torch.float64):
        index: Any = make_index(IndexConfig(kind="exact", compiled=True), dtype=dtype, **sizes)
        assert index._whole.begin(index, 5, 2, 4) == (dtype is torch.float32)


def test_a_memory_that_has_written_all_slots_grows_no_more(bases, monkeypatch) -> None:
    random = torch.Generator().manual_seed(11)
    base, told = bases[1.0], uses(monkeypatch)
    sizes: Any = {"batch_size": B, "capacity": N + 1, "word_size": W, "base": base}
    index: Any = make_index("exact", **sizes)
    every = torch.arange(N + 1).expand(B, -1)
    index.update(every, torch.randn(B, N + 1, W, generator=random))
    slots, words, queries = given(base, random)
    slots.clamp_max_(N)
    index.exchange(slots, words, queries, 4)
    table = index._overlay._words
    for _ in range(3):
        found = index.exchange(slots, words, queries, 4)
        assert index._overlay._words is table
        assert torch.equal(found.slots, index.search_exact(queries, 4).slots)
    assert len(told) == 4
