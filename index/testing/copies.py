"""Copies, pickles and files of an index."""

import copy
import io
import pickle
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from index.contents import Contents
from index.errors import BackendMissingError
from index.stored import StoredIndex
from index.tensor_files import read_parts
from index.testing.subject import Subject, answer, filled, pair, part


@part
def copies_are_independent(subject: Subject) -> None:
    for copied in (lambda index: index.clone(), copy.deepcopy):
        index, oracle, queries = filled(subject)
        other = copied(index)
        slots, words = torch.tensor([[1, 40], [2, 40]]), torch.ones(2, 2, 5)
        assert index.to("cpu") is index
        other_oracle = copy.deepcopy(oracle)
        for store in (other, other_oracle):
            store.update(slots, words)
            store.reset(torch.tensor([True, False]))
        oracle.assert_agrees(index, queries, 5)
        other_oracle.assert_agrees(other, queries, 5)
        for store in (index, oracle):
            store.reset()
        other_oracle.assert_agrees(other, queries, 5)


@part
def a_pickled_index_goes_on(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    searching = index.searching
    data = pickle.dumps(index)
    assert len(data) < 10_000 + index.nbytes, "more than the words"
    assert index.searching == searching
    other = pickle.loads(data)
    assert other.config == index.config
    assert other.searching == searching
    oracle.assert_agrees(other, queries, 6)
    for store in (other, oracle):
        store.update(torch.tensor([[1], [30]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(other, queries, 6)


@part
def a_restored_index_goes_on(subject: Subject) -> None:
    """What `save` writes is enough; a backend without `_content` cannot be saved."""
    index, oracle, queries = filled(subject)
    try:
        content = index.content()
    except NotImplementedError:
        return
    tensors = {name: part.clone() for name, part in content.items() if isinstance(part, Tensor)}
    settings = {name: part for name, part in content.items() if name not in tensors}
    given = Contents("content", tensors, settings)
    other = pair(subject)[0].restored(given)
    given.finish()
    for store in (other, oracle):
        store.update(torch.tensor([[1], [30]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(other, queries, 6)


@part
def a_saved_index_answers_as_before(subject: Subject) -> None:
    """With tables of its own, or by comparing every word, to the last bit."""
    with tempfile.TemporaryDirectory() as folder:
        for mapped in (False, True):
            path = Path(folder, f"index {mapped}")
            index, oracle, queries = filled(subject, 24)
            slots, words = torch.tensor([[1, 30], [30, 2]]), torch.randn(2, 2, 5)
            for store in (index, oracle):
                store.remove(torch.tensor([[3, 23], [7, 7]]))
            expected = answer(index, queries, 6)
            try:
                index.save(path)
            except (NotImplementedError, BackendMissingError):
                return
            data = path.read_bytes()
            given = read_parts(path, "index", mapped=mapped)
            other = pair(subject)[0].restored(given)
            given.finish()
            assert other.searching == index.searching
            tables = isinstance(index, StoredIndex) and index._table_content()
            if tables or index.searching == "exact":
                found = other.search(queries, 6)
                assert torch.equal(found.slots, expected.slots), "as before, to the last bit"
                assert torch.equal(found.scores, expected.scores), "as before, to the last bit"
            oracle.assert_agrees(other, queries, 6)
            for store in (other, oracle):
                store.update(slots, words)
                store.remove(torch.tensor([[0], [2]]))
                store.update(torch.tensor([[63], [2]]), -words[:, :1])
            oracle.assert_agrees(other, queries, 6)
            assert path.read_bytes() == data, "an index must not change the file it was read from"


@part
def torch_load_takes_an_index(subject: Subject) -> None:
    """Also by its default, without which a file may run whatever it says."""
    for batch_size in (2, None):
        index = pair(subject, batch_size=batch_size)[0]
        if not isinstance(index, StoredIndex):
            return
        words, queries = torch.randn(2, 20, 5), torch.randn(2, 3, 5)
        if batch_size is None:
            words, queries = words[0], queries[0]
        index.load(words)
        buffer = io.BytesIO()
        torch.save(index, buffer)
        buffer.seek(0)
        # The context takes away at its end what was allowed before, too.
        allowed = type(index) in torch.serialization.get_safe_globals()
        with torch.serialization.safe_globals([] if allowed else [type(index)]):
            other = torch.load(buffer, weights_only=True)
        assert type(other) is type(index)
        assert other.config == index.config
        assert other.batched == index.batched
        for k in (1, 6):
            found, expected = other.search_exact(queries, k), index.search_exact(queries, k)
            assert torch.equal(found.slots, expected.slots)
            assert torch.equal(found.scores, expected.scores)


@part
def an_index_used_in_inference_mode_can_be_used_afterwards(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    with torch.inference_mode():
        for store in (index, oracle):
            store.update(torch.tensor([[50], [51]]), torch.ones(2, 1, 5))
        copied = index.clone()
    for store in (index, copied, oracle):
        store.update(torch.tensor([[52], [50]]), -torch.ones(2, 1, 5))
    for store in (index, copied):
        oracle.assert_agrees(store, queries, 5)
