"""Lookup: what is asked, and that it is answered, also over a base that was never seen."""

from pathlib import Path

import pytest
import torch

from index.base import BaseMemory
from sam.errors import ConfigError
from sam.tasks import Lookup, make_task
from sam.train.carried import forward


@pytest.fixture
def base(tmp_path: Path) -> Path:
    BaseMemory.create(tmp_path / "base", Lookup(key_size=12, bits=4).pieces(300, seed=5))
    return tmp_path / "base"


def nearest(inputs: torch.Tensor, words: torch.Tensor, size: int) -> torch.Tensor:
    """The word whose key is most like each question, [T, B]."""
    return (inputs @ words[:, :size].t()).argmax(2)


def test_answers_are_the_values_of_the_nearest_keys(generator: torch.Generator) -> None:
    task = Lookup()
    batch = task.sample(4, generator=generator, level=200)
    assert batch.inputs.shape == (8, 4, 56) and batch.mask.all()
    words = batch.words
    assert (
        words is not None
        and words.shape == (200, 64)
        and batch.slices["words"].tolist() == [200] * 4
    )
    torch.testing.assert_close(words[:, :56].norm(dim=1), torch.ones(200))
    assert torch.equal(words[:, 56:].abs(), torch.full((200, 8), 0.15))
    found = nearest(batch.inputs, words, 56)
    assert torch.equal(batch.targets, (words[found][..., 56:] > 0).float())
    assert (batch.inputs - 56**0.5 * words[found][..., :56]).std().sub(0.3).abs() < 0.05
    other = task.sample(4, generator=generator, level=200)
    assert other.words is not None and not torch.equal(other.words, words)


def test_questions_about_a_base(base: Path, generator: torch.Generator) -> None:
    task = Lookup(base=str(base), key_size=12, bits=4, noise=0.01)
    assert task.levels == (300, 300) == (task.start_level,) * 2
    (batch, again) = task.evaluation(3, generator=generator, levels=(5, 9), count=5)
    assert batch.words is None and batch.inputs.shape[1] + again.inputs.shape[1] == 5
    words = BaseMemory.open(base).words_at(torch.arange(300))
    found = nearest(batch.inputs, words, 12)
    assert torch.equal(batch.targets, (words[found][..., 12:] > 0).float())
    assert batch.slices["words"].tolist() == [300] * 3


def test_pieces_do_not_depend_on_how_many_follow() -> None:
    task = Lookup()
    few, more = (next(iter(task.pieces(count, seed=1))) for count in (70_000, 140_000))
    assert torch.equal(few, more) and len(few) == 2**16
    assert sum(map(len, task.pieces(70_000))) == 70_000


def test_another_base_in_its_place_is_noticed(base: Path, generator: torch.Generator) -> None:
    task = Lookup(base=str(base), key_size=12, bits=4)
    task.sample(2, generator=generator)
    BaseMemory.create(base, Lookup(key_size=12, bits=4).pieces(77))
    assert task.levels == (77, 77)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"min_words": 9, "max_words": 8}, "min_words: expected at most max_words=8"),
        ({"bits": 0}, "bits: expected a whole number >= 1"),
        ({"noise": -1.0}, "noise"),
    ],
)
def test_bad_settings_are_named(settings: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make_task("lookup", **settings)


def test_a_base_of_other_words_is_refused(base: Path) -> None:
    with pytest.raises(ConfigError, match=r"base: expected words of .* 64 numbers, got 16"):
        Lookup(base=str(base))
    with pytest.raises(FileNotFoundError):
        Lookup(base=str(base.parent / "nothing"))


def test_words_of_a_batch_are_what_the_memory_holds(generator: torch.Generator) -> None:
    from sam import SAM

    task = Lookup(key_size=4, bits=2)
    model = SAM(4, 2, hidden_size=8, memory_size=64, word_size=6, num_heads=1)
    batch = task.sample(2, generator=generator, level=20)
    outputs, state = forward(model, batch)
    expected, _ = model(batch.inputs, model.initial_state(2, words=batch.words))
    assert torch.equal(outputs, expected) and (state.memory.words_in_use > 20).all()


def test_a_base_that_is_missing_is_told_as_by_the_base_itself(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the folder of a base, got nothing"):
        Lookup(base=str(tmp_path / "nothing"))
