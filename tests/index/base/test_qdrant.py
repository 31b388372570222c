"""Qdrant's embedded client in the place of a base."""

import importlib
import uuid
from typing import Any

import pytest
import torch

from index import (
    BackendMissingError,
    BaseMemory,
    FileFormatError,
    QdrantStore,
    ShapeError,
    as_base,
    make_index,
)
from index.base import qdrant
from tests.memory.base_episodes import INPUTS, B, assert_same, base_words, make_model, normal, run

COUNT, W = 40, 6
DISTANCES = {"cosine": "Cosine", "dot": "Dot", "l2": "Euclid"}


@pytest.fixture
def client():
    package = pytest.importorskip("qdrant_client", reason="needs qdrant-client")
    made = package.QdrantClient(":memory:")
    yield made
    made.close()


def collection(client: Any, name: str, words: torch.Tensor, distance: str = "Cosine", ids=None):
    models = importlib.import_module("qdrant_client").models
    size = models.VectorParams(size=words.shape[1], distance=distance)
    client.create_collection(name, vectors_config=size)
    every = list(range(len(words))) if ids is None else ids
    client.upload_collection(name, vectors=words.numpy(), ids=every)


@pytest.mark.parametrize("metric", DISTANCES)
def test_a_collection_equals_a_base(tmp_path, client, metric: Any) -> None:
    words = base_words(COUNT)
    collection(client, "facts", words, DISTANCES[metric])
    store = QdrantStore(client, "facts")
    assert (store.num_words, store.word_size, store.metric) == (COUNT, W, metric)
    kept = as_base(store).words_at(torch.arange(COUNT))  # of length 1 with Cosine
    base = BaseMemory.create(tmp_path / "base", kept, metric=metric)
    found, expected = (one.search(normal(5, W, seed=2), 4) for one in (as_base(store), base))
    # What it has divided by lengths depends in the last bits on what is asked for together.
    near = 1e-6 if metric == "cosine" else 1e-12
    torch.testing.assert_close(found.scores, expected.scores, rtol=near, atol=near)
    assert torch.equal(found.slots, expected.slots)
    assert as_base(store).search(words[0], COUNT + 3).slots[COUNT - 1 :].lt(0).tolist() == [
        False,
        *[True] * 3,
    ]
    if metric != "l2":
        return
    model = make_model("sam", COUNT + 6, similarity="euclidean")
    inputs = normal(8, B, INPUTS)
    states = (model.initial_state(B, base=one) for one in (store, base))
    assert_same(*(run(model, state, inputs, "plain") for state in states))


def test_named_vectors(client) -> None:
    models = importlib.import_module("qdrant_client").models
    config = {n: models.VectorParams(size=s, distance="Dot") for n, s in (("a", 3), ("b", 2))}
    client.create_collection("named", vectors_config=config)
    words = {"a": normal(5, 3).float().numpy(), "b": normal(5, 2, seed=1).float().numpy()}
    client.upload_collection("named", vectors=words, ids=range(5))
    base = as_base(QdrantStore(client, "named", vector="b", identity="mine"))
    assert (base.word_size, base.identity) == (2, "mine")
    assert torch.equal(base.words_at(torch.tensor([4, 1, 4])), torch.tensor(words["b"])[[4, 1, 4]])
    scores = torch.tensor(words["b"]) @ torch.ones(2)
    assert base.search(torch.ones(2), 2).slots.tolist() == scores.topk(2).indices.tolist()
    with pytest.raises(FileFormatError, match="named: expected the vector None, got a, b"):
        QdrantStore(client, "named")
    with pytest.raises(FileFormatError, match="named: expected the vector 'c', got a, b"):
        QdrantStore(client, "named", vector="c")


def test_collections_that_are_no_base(client) -> None:
    with pytest.raises(FileNotFoundError, match="expected a collection of Qdrant, got none"):
        QdrantStore(client, "nothing")
    collection(client, "far", base_words(3), "Manhattan")
    with pytest.raises(FileFormatError, match="far: expected a distance of Cosine, Dot, Euclid"):
        QdrantStore(client, "far")
    collection(client, "later", base_words(3), ids=[1, 2, 3])
    with pytest.raises(ShapeError, match=r"later: expected points with the ids 0 \.\. 2, got none"):
        QdrantStore(client, "later")
    collection(client, "named", base_words(2), ids=[str(uuid.UUID(int=i)) for i in (1, 2)])
    with pytest.raises(ShapeError, match=r"named: expected points with the ids 0 \.\. 1, got none"):
        QdrantStore(client, "named")
    collection(client, "good", base_words(3))
    with pytest.raises(ShapeError, match="base: expected words of word_size=5, got 6"):
        make_index("exact", capacity=9, word_size=5, base=QdrantStore(client, "good"))
    with pytest.raises(ValueError, match="base: expected one of metric 'cosine', got 'dot'"):
        collection(client, "dot", base_words(3), "Dot")
        make_index("exact", capacity=9, word_size=6, base=QdrantStore(client, "dot"))


def test_without_the_package(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(qdrant.importlib, "import_module", missing)
    expected = r"qdrant: expected an installed package, got .*\[qdrant\]'"
    with pytest.raises(BackendMissingError, match=expected):
        QdrantStore("folder", "facts")
