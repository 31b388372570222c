"""What a step of an index with lists touches, counted: nothing in it grows with the memory."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from index import HashedIndex, IndexConfig, make_index
from index.list_costs import Load, lists_pay, wide_cost
from tests.reference.new_bytes import NewBytes

SMALL, LARGE = 2**13, 2**15
# Of their first tensor these touch only the places that an index chooses.
CHOOSING = {
    "new_empty",
    "new_zeros",
    "new_full",
    "index",
    "index_put_",
    "index_select",
    "index_copy_",
    "index_fill_",
    "gather",
    "embedding",
}


class Touched(TorchDispatchMode):
    """Counts the numbers that operations read and write, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.names = 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not func.is_view:
            given = [t for t in tree_leaves(args) if isinstance(t, Tensor)]
            made = [t for t in tree_leaves(found) if isinstance(t, Tensor)]
            if name in CHOOSING:
                made = [t for t in made if t.data_ptr() != given[0].data_ptr()]
                given = given[1:]
            self.total += sum(t.numel() for t in (*given, *made))
            self.names.add(name)
        return found


def filled(kind: str, size: int, **options) -> HashedIndex:
    """A full index; half of the places are free. Its operations are torch's, to be counted."""
    index = make_index(
        IndexConfig(kind=kind, exact_below=0, compiled=False, **options),
        batch_size=2,
        capacity=size,
        word_size=8,
    )
    assert isinstance(index, HashedIndex)
    index.load(torch.randn(2, size, 8))
    return index


def counted(mode, call) -> int:
    with mode:
        call()
    return mode.total


STEP = (torch.arange(36).expand(2, -1), torch.randn(2, 36, 8), torch.randn(2, 4, 8))


@pytest.mark.parametrize("mode", [Touched, NewBytes])
@pytest.mark.parametrize("kind", ["ivf", "lsh", "product"])
def test_a_step_grows_far_less_than_the_words(kind: str, mode) -> None:
    """Four times of them. What is looked at of every list once grows with the lists."""
    indexes = [filled(kind, size, probes=8) for size in (SMALL, LARGE)]
    slots, words, queries = STEP
    same = [index._words[:, 1:37].clone() for index in indexes]
    calls = {
        "stay": lambda i: i.update(slots, same[indexes.index(i)]),
        "move": lambda i: i.update(slots, words),
        "search": lambda i: i.search(queries, 8),
        "remove": lambda i: i.remove(torch.full((2, 1), 99)),
    }
    for index in indexes:  # the lists of new words may have to be packed
        index.update(slots, words)
        index.search(queries, 8)
    for name, call in calls.items():
        small, large = (counted(mode(), lambda i=i, call=call: call(i)) for i in indexes)
        looked = 12 * 2 * indexes[1].size(LARGE).lists * indexes[1].size(LARGE).tables
        assert 0 < large <= 2.5 * small + (8 if mode is NewBytes else 1) * looked, name


@pytest.mark.parametrize("kind", ["ivf", "lsh", "product"])
def test_by_the_rule_scores_grow_with_the_root_at_most(kind: str) -> None:
    """Those of a word, which the class documents; and lists have words enough."""
    index = make_index(kind, batch_size=2, capacity=2**30, word_size=8)
    assert isinstance(index, HashedIndex)
    for exponent in range(8, 31):
        root, size = 2 ** (exponent / 2), index.size(2**exponent)
        scores = {
            "ivf": size.lists,
            "lsh": size.tables * (size.lists - 1).bit_length(),
            "product": 2 * size.lists**0.5,
        }
        limits = {"ivf": 6 * root, "lsh": 8 * exponent}
        assert scores[kind] <= limits.get(kind, root / 2)
        assert size.lists * 16 <= 2**exponent


@pytest.mark.parametrize("kind", ["ivf", "lsh", "product"])
def test_the_count_would_notice(kind: str) -> None:
    """One look at every slot, of two memories, is not lost among the rest."""
    index = filled(kind, LARGE)
    for _ in range(40):  # until looks at recall have become rare
        index.search(STEP[2], 8)
    search = counted(Touched(), lambda: index.search(STEP[2], 8))
    both = counted(Touched(), lambda: (index.search(STEP[2], 8), index._penalty.sum()))
    assert both - search >= 2 * LARGE


@pytest.mark.parametrize("codes", [True, False])
def test_wide_words_are_compared_with_all_where_narrow_ones_are_not(codes: bool) -> None:
    """Each query reads its lists, and all together read all words but once."""
    pays = {}
    for width in (32, 768):
        sizes, cost = (1600, 800, 32 * width, 2**14), wide_cost(width, codes=codes)
        pays[width] = lists_pay(*sizes, queries=32, cost=cost, l2=False, compiled=True)
    assert pays == {32: True, 768: False}


def test_words_written_for_each_query_are_told_of_the_calls_before() -> None:
    load = Load()
    for _ in range(80):
        load.write(300)
        load.search(10)
    assert load.written == pytest.approx(30, rel=0.01)
    together = Load()
    together.write(8 * 3)
    together.search(10, 8)
    one_by_one = Load()
    for _ in range(8):
        one_by_one.write(3)
        one_by_one.search(10)
    assert together.written == pytest.approx(one_by_one.written)
    load.write(10**6)  # at once
    load.search(10)
    assert load.written < 34
    for _ in range(60):
        load.search(10)
    assert load.written < 0.1


def test_lists_do_not_pay_where_words_are_written_far_more_often_than_asked_for() -> None:
    sizes, how = (500, 600, 32 * 64, 10_000), {"l2": False, "compiled": True}
    paying = [lists_pay(*sizes, queries=32, cost=1, written=w, **how) for w in (0, 36 / 32, 20)]
    assert paying == [True, True, False]
