"""A pickled index that was altered is refused when it is loaded, in one line."""

import copy
import pickle

import pytest
import torch

from index import IndexConfig, make_index
from index.compiled import use_compiled
from tests.index.oracle import CASES, filled

ALTERED = {
    "no words": lambda s: s.pop("words"),
    "words of none": lambda s: s.update(words=None),
    "words in float16": lambda s: s.update(words=s["words"].half()),
    "words in another dtype": lambda s: s.update(words=s["words"].double(), dtype="float64x"),
    "fewer memories": lambda s: s.update(words=s["words"][:1]),
    "fewer slots": lambda s: s.update(words=s["words"][:, :8]),
    "narrower words": lambda s: s.update(words=s["words"][:, :, :3]),
    "flat words": lambda s: s.update(words=s["words"].flatten()),
    "flags of other slots": lambda s: s.update(occupied=s["occupied"][:, :9]),
    "flags in float32": lambda s: s.update(occupied=s["occupied"].float()),
    "a word that is not finite": lambda s: s["words"][1, 3, 2].fill_(torch.nan),
    "more in use": lambda s: s["occupancy"].add_(1),
    "less than none in use": lambda s: s["occupancy"].fill_(-1),
    "a promise beyond": lambda s: s.update(promised=2**40),
    "a promise as text": lambda s: s.update(promised="12"),
    "another batch": lambda s: s.update(batch_size=5),
    "a batch beyond": lambda s: s.update(batch_size=2**50),
    "another width": lambda s: s.update(word_size=6),
    "no capacity": lambda s: s.update(capacity=0),
    "less capacity": lambda s: s.update(capacity=3),
    "a config as a list": lambda s: s.update(config=["exact"]),
    "a config with more": lambda s: s["config"].update(more=3),
    "an option of another backend": lambda s: s["config"].update(options={"more": 3}),
    "a kind that is none": lambda s: s["config"].update(kind=3),
    "words without memory": lambda s: s.update(words=torch.zeros(1).expand(2, 12, 5)),
    "words on no device": lambda s: s.update(words=s["words"].to("meta")),
    "sparse words": lambda s: s.update(words=s["words"].to_sparse()),
    "no batch dimension": lambda s: s.update(batched=False),
    "a batch dimension as a number": lambda s: s.update(batched=1),
    "a promise below zero": lambda s: s.update(promised=-1),
    "more than that": lambda s: s.update(more=3),
}


def altered(kind: str, how: str):
    index, _, _ = filled(kind)
    state = copy.deepcopy(index).__getstate__()
    ALTERED[how](state)
    return object.__new__(type(index)), state


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("kind", CASES)
def test_altered_parts_are_refused(kind: str, how: str) -> None:
    other, state = altered(kind, how)
    with pytest.raises(ValueError, match=r"^pickled index: .*expected [^\n]*, got [^\n]*$"):
        other.__setstate__(state)


@pytest.mark.parametrize("kind", CASES)
def test_a_pickle_holds_the_words_alone(kind: str) -> None:
    """What is made from the words cannot disagree with them."""
    index, oracle, queries = filled(kind)
    index.search(queries, 2)
    index.reserve(40)
    state = index.__getstate__()
    tensors = {name for name, part in state.items() if isinstance(part, torch.Tensor)}
    assert tensors == {"words", "occupied", "occupancy"}
    other = pickle.loads(pickle.dumps(index))
    oracle.assert_agrees(other, queries, 6)
    with pytest.raises(ValueError, match=r"0 \.\. 39, got 40"):
        other.update(torch.tensor([[40], [1]]), torch.ones(2, 1, 5))


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
