"""Memories of an index: picked, joined, and put in the place of others."""

import torch

from index.stored import StoredIndex
from index.testing.dictionary import DictIndex
from index.testing.subject import Subject, filled, pair, part


def _dictionary(*words: dict) -> DictIndex:
    made = DictIndex(len(words))
    made.words = [dict(memory) for memory in words]
    return made


@part
def memories_can_be_picked_joined_and_put(subject: Subject) -> None:
    """By an index that keeps its words; each of them goes on as an index of its own."""
    index, oracle, queries = filled(subject, 20)
    if not isinstance(index, StoredIndex):
        return
    for store in (index, oracle):
        store.remove(torch.tensor([[3, 19], [7, 7]]))
    first, second = oracle.words
    rows = torch.tensor([1, 0, 1])
    picked = index.rows(rows)
    fresh = pair(subject, batch_size=1)[0]
    assert isinstance(fresh, StoredIndex)
    joined = index.cat([fresh, index, picked])
    changed = index.clone()
    changed.put(torch.tensor([1]), picked.rows(torch.tensor([1])))
    emptied = index.clone()
    emptied.put(torch.tensor([0]), fresh)
    cases = (
        (index, _dictionary(first, second)),
        (picked, _dictionary(second, first, second)),
        (joined, _dictionary({}, first, second, second, first, second)),
        (changed, _dictionary(first, first)),
        (emptied, _dictionary({}, second)),
    )
    for store, wanted in cases:
        wanted.norm_eps = oracle.norm_eps
        count = len(wanted.words)
        asked = queries.repeat(count, 1, 1)[:count]
        for _ in range(2):
            wanted.assert_agrees(store, asked, 6)
            slots = torch.tensor([[40, 1, 63]]).expand(count, -1)
            words = torch.randn(count, 3, 5)
            for each in (store, wanted):
                each.update(slots, words)
