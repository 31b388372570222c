"""Lists in two levels: compiled and torch forms agree, all words are reached, groups are chosen."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from index import BaseMemory, FileFormatError
from index.base import group_means, grouped_lists
from index.base.group_means import group_count
from index.base.grouped_lists import GroupedLists
from index.base.list_search import choose_lists, needed_words
from index.bench.word_sources import ClusteredWords, copies
from index.compiled import use_compiled
from index.hashing import LearnInputs, Size
from index.inverted_lists import ListSizes
from index.metric import unit

N, W = 6000, 12


@pytest.fixture(autouse=True)
def groups_of_few_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_means, "FROM", 32)
    monkeypatch.setattr(grouped_lists, "WORD_GROUPS", 3)


def words_of(count: int = N) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    words = ClusteredWords(1, count, W, generator=generator).draw(count)[0]
    return unit(words, torch.zeros(()))


def learned(words: Tensor, metric: Any = "cosine") -> tuple[GroupedLists, Tensor]:
    """Lists, and the one of each word, in torch."""
    real = torch.ones(1, len(words), dtype=torch.bool)
    random = torch.Generator().manual_seed(0)
    inputs = LearnInputs(metric, words[None], real, lambda: [words[None]], random)
    hashed = GroupedLists.learn(
        Size(1, GroupedLists.rule(128 * grouped_lists.LENGTH).lists), inputs
    )
    return hashed, hashed.choices(words[None]).lists[0, :, 0]


def test_centroids_lie_group_by_group() -> None:
    hashed, homes = learned(words_of())
    groups = len(hashed.centers)
    assert 1 < groups <= group_count(128) and hashed.starts[-1] == hashed.lists
    assert abs(hashed.lists - 128) <= groups
    own = (hashed.centroids @ hashed.centers.T + hashed.group_half).argmax(1)
    of = torch.arange(groups).repeat_interleave(hashed.starts.diff())
    assert (own == of).float().mean() > 0.8
    apart = torch.cdist(words_of() - hashed.center[0], hashed.centroids)
    nearest = apart.gather(1, homes[:, None])[:, 0]
    assert (nearest == apart.min(1).values).float().mean() > 0.9


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("looked", [1, 3, 100])
def test_compiled_choices_are_those_of_torch(metric: Any, looked: int) -> None:
    pytest.importorskip("numba")
    words = words_of()
    hashed, homes = learned(words, metric)
    hashed._look_into(looked)
    assert (hashed.assigned(words[None]).lists[0, :, 0] == homes).float().mean() > 0.999
    lengths = torch.bincount(homes, minlength=hashed.lists)
    sizes = ListSizes(lengths.numpy(), torch.tensor([N]).numpy())
    queries = copies(words[::500], 0.3, generator=torch.Generator().manual_seed(3))
    for budget in (1, 300, N - 1):
        found = hashed.chosen(queries[None], SimpleNamespace(sizes=sizes), budget)  # type: ignore[arg-type]
        expected = choose_lists(hashed, lengths, queries, budget)
        for q, lists in enumerate(expected):
            mine = found.lists[0, q][: found.counts[0, q]].tolist()
            assert mine == lists[lists >= 0].tolist()
            met = lengths[mine].sum()
            assert met >= budget and met - lengths[mine[-1]] < budget
    everything = hashed.chosen(queries[None], SimpleNamespace(sizes=sizes), N)  # type: ignore[arg-type]
    assert (everything.counts == -1).all()


def test_lists_of_the_groups_looked_into_come_first_and_all_come() -> None:
    hashed, homes = learned(words_of())
    hashed._look_into(2)
    query = words_of()[5].view(1, 1, -1)
    order = hashed.probes(query, hashed.most_probes)[0, 0, 0]
    assert sorted(order.tolist()) == [*range(hashed.lists)]
    sizes = hashed.starts.diff()
    near = ((query - hashed.center) @ hashed.centers.T + hashed.group_half)[0, 0].argsort(
        descending=True
    )
    of = torch.arange(len(sizes)).repeat_interleave(sizes)
    first = int(sizes[near[:2]].sum())
    assert {*of[order[:first]].tolist()} == {*near[:2].tolist()}
    assert of[order[first:]].unique_consecutive().tolist() == [
        g for g in near[2:].tolist() if sizes[g]
    ]
    lengths = torch.bincount(homes, minlength=hashed.lists)
    needed = hashed.needed_words(query[0, 0], homes[::99], lengths)
    assert needed.shape == (len(homes[::99]), len(sizes))
    for looked in range(1, len(sizes) + 1):
        hashed._look_into(looked)
        expected = needed_words(hashed, lengths, query[0, 0], homes[::99])
        assert torch.equal(needed[:, looked - 1], expected)


def test_as_many_groups_are_looked_into_as_compares_least() -> None:
    hashed, _ = learned(words_of())
    each = hashed.lists / len(hashed.centers)
    groups = len(hashed.centers)
    # One group has less to compare than two, and more than four.
    budgets = {1: 5000, 2: 9000, 3: 9000, 4: 9000}
    assert groups > 8
    needed = torch.tensor([[float(budgets.get(g + 1, 690)) for g in range(groups)]])
    budget = hashed.tuned(needed, lambda some: int(some.item()))
    # A word costs as much as three centroids.
    costs = {
        looked: looked * each + 3 * budgets.get(looked, 690) for looked in (1, 2, 3, 4, 5, 6, 8)
    }
    assert hashed.looked == min(costs, key=lambda looked: costs[looked]) == 5
    assert budget == 690


@pytest.mark.parametrize("compiled", [False, True])
def test_a_base_finds_what_it_aims_at(tmp_path, compiled: bool) -> None:
    if compiled:
        pytest.importorskip("numba")
    words = words_of()
    with use_compiled(compiled):
        base = BaseMemory.create(tmp_path / "base", words, index="ivf")
        assert base.tables["lists"] > 80 and base._opened.tables.hashed.starts.numel() > 2  # type: ignore[attr-defined]
        queries = copies(words[7::29], 0.3, generator=torch.Generator().manual_seed(4))
        found = BaseMemory.open(tmp_path / "base").search(queries, 4)
        true = base.search(queries, 4, exact=True)
    hits = (found.slots.unsqueeze(2) == true.slots.unsqueeze(1)).any(2).float().mean()
    assert hits > 0.87


def test_damaged_groups_are_refused(tmp_path) -> None:
    hashed, _ = learned(words_of())
    from index.contents import Contents

    owner = SimpleNamespace(word_size=W, dtype=torch.float32, config=SimpleNamespace(metric="l2"))

    def restored(**changed: Any) -> GroupedLists:
        parts = {f"hash_{name}": part for name, part in hashed.content().items()} | changed
        return GroupedLists.restored(Contents(tmp_path, parts, {}), owner, 1, hashed.lists)

    assert restored().looked == hashed.looked
    wrong = hashed.starts.clone()
    wrong[1] = hashed.lists + 1
    backwards = hashed.starts.clone()
    backwards[1], backwards[2] = 9, 8
    for starts in (wrong, backwards, hashed.starts[1:], hashed.starts + 1):
        with pytest.raises(FileFormatError, match="hash_group_starts: expected"):
            restored(hash_group_starts=starts)
    with pytest.raises(FileFormatError, match="hash_looked"):
        restored(hash_looked=torch.tensor([0]))
    with pytest.raises(FileFormatError, match="finite"):
        restored(hash_centroids=hashed.centroids * torch.inf)


def test_a_cluster_of_words_is_not_cut_at_the_borders_of_groups() -> None:
    """Most of its words are in one list, though centroids near each other are in other groups."""
    random = torch.Generator().manual_seed(6)
    centers = unit(torch.randn(128, W, generator=random), torch.zeros(()))
    which = torch.randint(128, (N,), generator=random)
    words = centers[which] + 0.3 / W**0.5 * torch.randn(N, W, generator=random)
    with use_compiled(False):
        _, homes = learned(unit(words, torch.zeros(())))
    together = torch.zeros(128, int(homes.max()) + 1)
    together.index_put_((which, homes), torch.ones(N), accumulate=True)
    share = together.amax(1) / together.sum(1)
    assert share.mean() > 0.8, share.mean()
