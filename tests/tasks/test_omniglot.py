"""Omniglot episodes: what is shown and asked, how images are turned and moved, splits, matching."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.tasks import Batch, Omniglot, make_task
from sam.tasks.omniglot_images import load
from sam.tasks.omniglot_pixels import read_pixels, source_pixels
from sam.tasks.task import evaluation_levels
from sam.testing import TaskContract
from tests.tasks.omniglot_files import drawing, write

CHARACTERS, DRAWINGS = 32, 4


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("omniglot"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "omniglot-cache"))


@pytest.fixture
def make(source: Path) -> Any:
    def make(**settings: Any) -> Omniglot:
        return Omniglot(path=str(source), **settings)

    yield make
    load.cache_clear()
    read_pixels.cache_clear()


class TestContract(TaskContract):
    @pytest.fixture(autouse=True)
    def made(self, make: Any) -> None:
        self.make = make

    def make_task(self) -> Any:
        return self.make(min_classes=2)


def pictures(batch: Batch, row: int) -> list[np.ndarray]:
    """The images of a sequence, as ink or not."""
    return [image > 0.5 for image in batch.inputs[:, row, :400].view(-1, 20, 20).numpy()]


def known() -> dict[bytes, tuple[int, int]]:
    """Character and number of every drawing, by its pixels."""
    return {
        drawing(character, number).tobytes(): (character, number)
        for character in range(CHARACTERS)
        for number in range(DRAWINGS)
    }


def seen(batch: Batch, row: int) -> list[tuple[int, int]]:
    """Character and drawing of each step of a sequence that is neither turned nor moved."""
    by_pixels = known()
    return [by_pixels[image.tobytes()] for image in pictures(batch, row)]


def test_the_label_of_the_drawing_before_is_shown(make: Any, generator: torch.Generator) -> None:
    batch = make(labels=7).sample(6, generator=generator)
    assert batch.inputs.shape == (50, 6, 407)
    shown = batch.inputs[:, :, 400:]
    assert not shown[0].any()
    assert torch.equal(shown[1:], torch.nn.functional.one_hot(batch.targets[:-1], 7).float())
    assert batch.mask.all()
    assert batch.slices["classes"].tolist() == [5] * 6
    assert {*batch.targets.unique().tolist()} == {*range(7)}  # over the episodes
    for row in range(6):
        labels, counts = batch.targets[:, row].unique(return_counts=True)
        assert len(labels) == 5 and counts.tolist() == [10] * 5


def test_a_label_is_of_one_character_and_drawings_repeat_last(
    make: Any, generator: torch.Generator
) -> None:
    batch = make(rotate=False, shift=0, presentations=6).sample(8, generator=generator)
    labels_of: dict[int, set[int]] = {}
    for row in range(8):
        found = seen(batch, row)
        pairs = {*zip(batch.targets[:, row].tolist(), (one for one, _ in found), strict=True)}
        assert len(pairs) == len({label for label, _ in pairs}) == len({one for _, one in pairs})
        for label, character in pairs:
            labels_of.setdefault(character, set()).add(label)
            numbers = [number for one, number in found if one == character]
            assert {numbers.count(number) for number in range(DRAWINGS)} == {1, 2}
    assert any(len(labels) > 1 for labels in labels_of.values())  # drawn anew for each episode


def test_splits_have_characters_of_their_own(make: Any, generator: torch.Generator) -> None:
    for characters, sizes in (("random", (22, 2, 8)), ("background", (22, 2, 8))):
        task = make(characters=characters, rotate=False, shift=0, max_classes=2, min_classes=2)
        found: dict[str, set[int]] = {"train": set(), "valid": set(), "test": set()}
        for split, seen_in in found.items():
            for batch in task.evaluation(20, generator=generator, split=split, count=60):
                for row in range(20):
                    seen_in |= {character for character, _ in seen(batch, row)}
        for _ in range(4):
            batch = task.sample(20, generator=generator)
            drawn = {character for row in range(20) for character, _ in seen(batch, row)}
            assert drawn <= found["train"]
        assert tuple(map(len, found.values())) == sizes
        assert len(set.union(*found.values())) == CHARACTERS
        if characters == "background":
            assert found["test"] == {*range(24, 32)}


def test_a_character_is_turned_alike_in_an_episode(make: Any, generator: torch.Generator) -> None:
    batch = make(shift=0).sample(20, generator=generator)
    by_pixels, turns = known(), set()
    for row in range(20):
        turn_of: dict[int, set[tuple[int, int]]] = {}
        for image, label in zip(pictures(batch, row), batch.targets[:, row].tolist(), strict=True):
            found = {
                (turn, by_pixels[back][0])
                for turn in range(4)
                if (back := np.rot90(image, -turn).tobytes()) in by_pixels
            }
            assert len(found) == 1
            turn_of.setdefault(label, set()).update(found)
        assert all(len(found) == 1 for found in turn_of.values())
        turns |= {turn for found in turn_of.values() for turn, _ in found}
    assert turns == {0, 1, 2, 3}


def test_source_pixels_turn_and_move() -> None:
    image = torch.arange(1, 402)
    image[400] = 0
    moved = image[source_pixels(1)]  # [4, 9, 400]
    square = image[:400].view(20, 20)
    for turn in range(4):
        frame = torch.zeros(22, 22, dtype=torch.int64)
        frame[1:21, 1:21] = torch.from_numpy(np.rot90(square.numpy(), turn).copy())
        expected = [frame[y : y + 20, x : x + 20] for y in range(3) for x in range(3)]
        assert torch.equal(moved[turn].view(9, 20, 20), torch.stack(expected))


def repeats(batch: Batch) -> Tensor:
    """Whether all presentations of a character are the same image, one number each."""
    found = []
    for row in range(batch.inputs.shape[1]):
        for label in batch.targets[:, row].unique():
            images = batch.inputs[batch.targets[:, row] == label, row, :400]
            found.append(bool((images == images[0]).all()))
    return torch.tensor(found).float()


@pytest.mark.parametrize(("level", "share"), [(1, 1.0), (4, 0.7), (11, 0.0), (20, 0.0)])
def test_matching_gets_harder_with_the_level(
    level: int, share: float, make: Any, generator: torch.Generator
) -> None:
    task = make(curriculum="matching")
    batch = task.sample(60, generator=generator, level=level)
    assert batch.slices["classes"].tolist() == [5] * 60
    assert abs(float(repeats(batch).mean()) - share) < (0.1 if 0 < share < 1 else 1e-6)


def test_levels_of_training_and_of_evaluations(make: Any, generator: torch.Generator) -> None:
    task = make(min_classes=2, max_classes=4)
    assert (task.levels, task.start_level) == ((2, 4), 2)
    matching = make(min_classes=4, max_classes=4, curriculum="matching", labels=6)
    assert (matching.levels, matching.start_level) == ((1, 11), 1)
    assert evaluation_levels(matching) == matching.evaluation_levels == (4, 4)
    assert evaluation_levels(make_task("copy")) == (1, 20)
    (batch,) = matching.evaluation(9, generator=generator, count=9)
    assert batch.slices["classes"].tolist() == [4] * 9
    assert not repeats(batch).any()
    (batch,) = matching.evaluation(9, generator=generator, levels=(6,), count=9)
    assert len(batch.inputs) == 60
    with pytest.raises(ConfigError, match="level: expected at most labels=6 characters, got 7"):
        matching.evaluation(9, generator=generator, levels=(7,))
    few = make(rotate=False, labels=40)
    with pytest.raises(ConfigError, match="at most 8 characters, those of split 'test', got 9"):
        few.evaluation(9, generator=generator, levels=(9,))


def test_measures_tell_right_answers_by_presentation(make: Any, generator: torch.Generator) -> None:
    task = make(presentations=3)
    batch = task.sample(4, generator=generator)
    outputs = torch.nn.functional.one_hot(batch.targets, 5).float()
    for row in range(4):  # the first character seen is never named right at its second presentation
        place = (batch.targets[:, row] == batch.targets[0, row]).nonzero()[1]
        outputs[place, row] = outputs[place, row].roll(1, -1)
    found = task.measures(outputs, batch)
    assert {name: values.tolist() for name, values in found.items()} == {
        "1st right %": [100.0] * 4,
        "2nd right %": [80.0] * 4,
        "3rd right %": [100.0] * 4,
    }


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="labels: expected a whole number >= 5, got 4"):
        Omniglot(labels=4)
    with pytest.raises(ConfigError, match=r"curriculum: expected one of \('classes', 'matching'\)"):
        Omniglot(curriculum="matched")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="characters: expected one of"):
        Omniglot(characters="all")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="shift: expected below 20, got 20"):
        Omniglot(shift=20)
    with pytest.raises(ConfigError, match="presentations: expected a whole number >= 1, got 0"):
        Omniglot(presentations=0)
