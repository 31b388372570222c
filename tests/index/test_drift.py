"""When it is time to learn anew, call by call."""

import pytest
import torch

from index.drift import Drift

NONE = torch.tensor(0)


def drift(words: int = 80, refresh_after: float | None = None, fit: float = 2.0) -> Drift:
    return Drift(torch.tensor(fit), words, refresh_after)


def due(watch: Drift, errors: torch.Tensor, real: torch.Tensor, lost: torch.Tensor) -> bool:
    """Tells it of the errors [B, M] of real words."""
    return watch.due(*real.shape, (errors * real).sum(), real.sum(), lost)


def calls(watch: Drift, error: float, count: int, *, lost: int = 0) -> list[bool]:
    """What it says to one call after another, each of one word in one memory."""
    real = torch.ones(1, 1, dtype=torch.bool)
    return [due(watch, torch.full((1, 1), error), real, torch.tensor(lost)) for _ in range(count)]


def test_words_that_fit_as_well_are_no_reason() -> None:
    assert not any(calls(drift(), 2.0, 500))
    assert not any(calls(drift(), 2.49, 500)), "less than a quarter worse"
    assert not any(calls(drift(fit=0.0), 0.0, 500)), "all words are alike"


def test_worse_words_are_a_reason_once_half_were_replaced() -> None:
    said = calls(drift(), 2.51, 80)
    assert said.index(True) == 39
    assert sum(said) == 5  # every 10 calls from then on: who learns anew makes another


def test_only_the_last_words_count() -> None:
    watch = drift()
    assert not any(calls(watch, 9.0, 30))
    assert not any(calls(watch, 2.0, 30)), "what was worse before is forgotten"
    assert calls(watch, 9.0, 10) == [False] * 9 + [True]
    watch = drift()
    calls(watch, 2.0, 200)
    assert calls(watch, 2.6, 10) == [False] * 9 + [True], "what was good before is, too"


def test_it_is_the_mean_that_counts() -> None:
    watch = drift()
    for bad, expected in ((0, False), (3, False), (4, True)):
        calls(watch, 2.0, 60)  # whole eighths
        errors = torch.full((1, 10), 2.0)
        errors[0, :bad] += 1.5  # three make 2.45, four make 2.6
        assert due(watch, errors, torch.ones(1, 10, dtype=torch.bool), NONE) is expected


def test_what_is_no_word_has_no_error() -> None:
    real = torch.tensor([[True, False], [False, True]])
    error = torch.tensor([[2.0, 100.0], [torch.finfo().max, 2.0]])
    watch = drift()
    assert not any(due(watch, error, real, NONE) for _ in range(200))
    assert any(due(watch, error.where(~real, 2.6), real, NONE) for _ in range(200))


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("width", [1, 3, 36, 500])
def test_the_count_is_of_one_memory(batch: int, width: int) -> None:
    watch, real = drift(words=400), torch.ones(batch, width, dtype=torch.bool)
    number = 1
    while not due(watch, torch.full((batch, width), 3.0), real, NONE):
        number += 1
    assert 200 <= number * width < 200 + 50 + 2 * width


def test_words_without_a_place_are_a_reason_once_a_quarter_were_replaced() -> None:
    watch = drift(words=128)  # two are the share allowed
    assert not any(calls(watch, 2.0, 2, lost=1) + calls(watch, 2.0, 500))
    assert any(calls(watch, 2.0, 1, lost=1) + calls(watch, 2.0, 16)), "one more, and the next look"
    said = calls(drift(words=128), 2.0, 128, lost=1)
    assert said.index(True) == 31


def test_the_share_without_a_place_is_of_all_memories() -> None:
    for batch, expected in ((1, True), (3, False)):
        watch, real = drift(words=128), torch.ones(batch, 1, dtype=torch.bool)
        errors = torch.full((batch, 1), 2.0)
        said = [due(watch, errors, real, torch.tensor(6 * (i == 0))) for i in range(128)]
        assert any(said) is expected


@pytest.mark.parametrize(("refresh_after", "first"), [(1.0, 80), (0.5, 40), (2.0, 160), (0.01, 1)])
@pytest.mark.parametrize("error", [0.0, 1e9])
def test_by_number_the_error_does_not_matter(
    refresh_after: float, first: int, error: float
) -> None:
    said = calls(drift(refresh_after=refresh_after), error, 200)
    assert said.index(True) == first - 1


def test_never() -> None:
    assert not any(calls(drift(refresh_after=0), 1e9, 500))
    assert not any(calls(drift(refresh_after=0.0), 1e9, 500, lost=1))


def test_a_copy_counts_on_its_own() -> None:
    watch = drift()
    calls(watch, 3.0, 35)
    other = watch.copied(torch.device("cpu"))
    assert calls(other, 1.0, 5) == [False] * 5
    assert calls(watch, 3.0, 5) == [False] * 4 + [True]
