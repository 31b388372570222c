"""A pickled index that was altered is refused when it is loaded, in one line."""

import copy
import pickle

import pytest
import torch

from index import IndexConfig, make_index
from index.compiled import use_compiled
from tests.index.oracle import CASES, filled

ALTERED = {
    "no words": lambda s: s.pop("_words"),
    "words of none": lambda s: s.update(_words=None),
    "words in float16": lambda s: s.update(_words=s["_words"].half()),
    "words in another dtype": lambda s: s.update(_words=s["_words"].double()),
    "fewer memories": lambda s: s.update(_words=s["_words"][:1]),
    "fewer slots": lambda s: s.update(_words=s["_words"][:, :8]),
    "no slots": lambda s: s.update(_words=s["_words"][:, :0], _penalty=s["_penalty"][:, :0]),
    "narrower words": lambda s: s.update(_words=s["_words"][:, :, :3]),
    "flat words": lambda s: s.update(_words=s["_words"].flatten()),
    "penalties of other slots": lambda s: s.update(_penalty=s["_penalty"][:, :9]),
    "penalties between": lambda s: s["_penalty"][0, 2].fill_(-0.5),
    "a word beyond the last": lambda s: s["_penalty"][0, -1].fill_(0),
    "a word that is not finite": lambda s: s["_words"][1, 3, 2].fill_(torch.nan),
    "more in use": lambda s: s.update(_in_use=s["_words"].shape[1]),
    "less than none in use": lambda s: s.update(_in_use=-1),
    "in use as text": lambda s: s.update(_in_use="12"),
    "a promise beyond": lambda s: s.update(_promised=2**40),
    "another batch": lambda s: s.update(batch_size=5),
    "another width": lambda s: s.update(word_size=6),
    "no capacity": lambda s: s.update(capacity=0),
    "less capacity": lambda s: s.update(capacity=3),
    "a config as a dict": lambda s: s.update(config={"kind": "exact"}),
    "eps of many": lambda s: s.update(_root_eps=torch.ones(3)),
    "of integers": lambda s: s.update(_like=torch.empty(0, dtype=torch.int64)),
}


def altered(kind: str, how: str):
    index, _, _ = filled(kind)
    state = copy.deepcopy(index).__getstate__()
    ALTERED[how](state)
    other = object.__new__(type(index))
    vars(other).update(state)
    return other, state


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("kind", CASES)
def test_altered_parts_are_refused(kind: str, how: str) -> None:
    other, state = altered(kind, how)
    with pytest.raises(ValueError, match=r"^pickled index: .*expected [^\n]*, got [^\n]*$"):
        other.__setstate__(state)


@pytest.mark.parametrize("kind", CASES)
def test_tables_in_a_pickle_are_made_anew(kind: str) -> None:
    """What is made from the words cannot disagree with them."""
    index, oracle, queries = filled(kind)
    index.search(queries, 2)
    other = object.__new__(type(index))
    other.__setstate__(vars(index) | {"_sized_for": 2**20, "_room": 99, "_first_row": None})
    oracle.assert_agrees(other, queries, 6)
    assert other._room == index._room


@pytest.mark.parametrize("kind", CASES)
def test_an_index_loaded_in_inference_mode_can_be_used_afterwards(kind: str) -> None:
    index, oracle, queries = filled(kind)
    data = pickle.dumps(index)
    with torch.inference_mode():
        other = pickle.loads(data)
    for store in (other, oracle):
        store.update(torch.tensor([[1, 60], [2, 3]]), torch.ones(2, 2, 5))
        store.remove(torch.tensor([[2], [5]]))
    oracle.assert_agrees(other, queries, 6)


@pytest.mark.parametrize("kind", ["exact", "ivf", "lsh", "product"])
def test_what_does_not_fit_comes_to_no_compiled_loop(kind: str) -> None:
    """An exchange checks what costs next to nothing, and slots against the room there is."""
    pytest.importorskip("numba")
    options = {} if kind == "exact" else {"exact_below": 0}
    index = make_index(IndexConfig(kind=kind, **options), batch_size=2, capacity=64, word_size=5)
    index.reserve(20)
    slots, words, queries = torch.tensor([[1], [2]]), torch.randn(2, 1, 5), torch.randn(2, 3, 5)
    wrong = [
        (slots, words[:, :, :4], queries, 2),
        (slots, words[:1], queries, 2),
        (slots, words.repeat(1, 2, 1), queries, 2),
        (slots, words.repeat(2, 1, 1), queries, 2),
        (slots.repeat(2, 1), words.repeat(2, 1, 1), queries, 2),
        (slots[:, 0], words, queries, 2),
        (slots.int(), words, queries, 2),
        (slots, words.double(), queries, 2),
        (slots, words, queries.double(), 2),
        (slots, words, queries[:1], 2),
        (slots, words, queries[:, :, :2], 2),
        (slots, words, queries[0], 2),
        (slots, words, queries, 0),
        (slots + 100, words, queries, 2),
        (slots - 5, words, queries, 2),
    ]
    with use_compiled(True):
        index.exchange(slots, words, queries, 2)
        before = index.search(queries, 4)
        for given in wrong:
            with pytest.raises(ValueError, match="expected"):
                index.exchange(*given)
            assert torch.equal(index.search(queries, 4).scores, before.scores)
