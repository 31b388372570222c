"""Lookup among real vectors: which ones training sees, and what is asked about the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from index import BaseMemory
from sam.errors import ConfigError, DataMissingError
from sam.tasks import VectorLookup
from sam.tasks.lookup_vectors import ENVIRONMENT_VARIABLE, FILE
from sam.testing import TaskContract

COUNT, K = 300, 10


def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((COUNT, K))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "vectors.npy", vectors())
    return tmp_path / "vectors.npy"


def small(file: Path, **settings: Any) -> VectorLookup:
    sizes = {"train_words": 100, "max_words": 60, "key_size": K, "bits": 4}
    return VectorLookup(path=str(file), **(sizes | settings))


class TestContract(TaskContract):
    @pytest.fixture(autouse=True)
    def _file(self, file: Path) -> None:
        self.file = file

    def make_task(self) -> Any:
        return small(self.file)


def rows_of(words: torch.Tensor) -> set[int]:
    """Which vectors of the file the keys of words are."""
    every = vectors() / np.linalg.norm(vectors(), axis=1, keepdims=True)
    near = words[:, :K].numpy() @ every.T
    assert (near.max(1) > 1 - 1e-5).all()
    return {*near.argmax(1).tolist()}


def test_training_and_evaluation_share_no_vector(file: Path, generator: torch.Generator) -> None:
    task = small(file)
    seen = set()
    for _ in range(20):
        words = task.sample(2, generator=generator, level=60).words
        assert words is not None and len(rows_of(words)) == 60
        seen |= rows_of(words)
    assert len(seen) == 100
    drawn = (b.words for b in task.evaluation(2, generator=generator, levels=(50,), count=8))
    unseen = set().union(*(rows_of(words) for words in drawn if words is not None))
    unseen |= rows_of(torch.cat([*task.pieces(200)]))
    assert len(unseen) == 200 and not unseen & seen
    trained = task.evaluation(2, generator=generator, levels=(50,), count=2, split="train")
    assert all(rows_of(b.words) <= seen for b in trained if b.words is not None)


def test_answers_are_the_values_of_the_nearest_keys(
    file: Path, tmp_path: Path, generator: torch.Generator
) -> None:
    task = small(file, noise=0.05)
    batch = task.sample(3, generator=generator, level=40)
    found = batch.words[(batch.inputs @ batch.words[:, :K].T).argmax(2)]
    assert torch.equal(batch.targets, (found[..., K:] > 0).float())
    base = BaseMemory.create(tmp_path / "base", task.pieces(150, seed=3))
    (batch,) = small(file, base=str(base.path), noise=0.05).evaluation(
        3, generator=generator, count=3
    )
    assert batch.words is None and batch.slices["words"].tolist() == [150] * 3
    words = base.words_at(torch.arange(150))
    found = words[(batch.inputs @ words[:, :K].T).argmax(2)]
    assert torch.equal(batch.targets, (found[..., K:] > 0).float())
    again = torch.cat([*task.pieces(150, seed=4)])
    assert torch.equal(again[:, :K], words[:, :K]) and not torch.equal(again, words)


def test_mistakes(file: Path, tmp_path: Path, generator: torch.Generator) -> None:
    for settings, text in (
        ({"key_size": 9}, "key_size: expected that of the vectors, 10, got 9"),
        ({"train_words": 300}, "train_words: expected fewer than there are vectors, 300, got 300"),
        ({"max_words": 101}, "max_words: expected at most train_words=100, got 101"),
    ):
        with pytest.raises(ConfigError, match=text):
            small(file, **settings)
    with pytest.raises(ConfigError, match="count: expected at most 200 unseen vectors, got 201"):
        next(small(file).pieces(201))
    with pytest.raises(ConfigError, match="level: expected at most 100 words, the vectors"):
        small(file).sample(2, generator=generator, level=101)


def test_files_that_are_none(tmp_path: Path, monkeypatch) -> None:
    np.savez(tmp_path / FILE, base=vectors().astype(np.float16), query=np.ones(3))
    assert small(tmp_path / FILE).levels == small(tmp_path).levels == (16, 60)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    assert VectorLookup(train_words=200, max_words=60, key_size=K).input_size == K
    with pytest.raises(DataMissingError, match=f"GloVe data: expected {FILE} in .*nothing"):
        small(tmp_path / "nothing")
    spoiled = vectors()
    spoiled[3] = 0
    for number, wrong in enumerate((np.ones(3), np.ones((3, 2), int), spoiled, spoiled * np.nan)):
        np.save(tmp_path / f"{number}.npy", wrong)
        with pytest.raises(DataMissingError, match=r"expected an .npy file of floats \[n, K\]"):
            small(tmp_path / f"{number}.npy")
    for content in (b"", b"text", (tmp_path / FILE).read_bytes()[:200]):
        (tmp_path / "damaged.npy").write_bytes(content)
        with pytest.raises(DataMissingError, match=r"expected an \.npy file") as caught:
            small(tmp_path / "damaged.npy")
        assert "\n" not in str(caught.value)


def test_the_real_file(generator: torch.Generator) -> None:
    try:
        task = VectorLookup()
    except DataMissingError as missing:
        pytest.skip(str(missing))
    words = next(task.pieces(50_000))
    assert words.shape == (50_000, 58) and len(task._keys()) == 131_072
    torch.testing.assert_close(words[:, :50].norm(dim=1), torch.ones(50_000))
