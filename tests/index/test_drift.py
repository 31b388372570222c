"""When it is time to learn anew, call by call."""

import pytest
import torch

from index.drift import Drift


def drift(words: int = 80, refresh_after: float | None = None, fit: float | None = 2.0) -> Drift:
    return Drift(fit, words, refresh_after)


def calls(watch: Drift, error: float | None, count: int) -> list[bool]:
    """What it says to one call after another, each of one word."""
    return [watch.due(1, error) for _ in range(count)]


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
        assert watch.due(10, 10 * 2.0 + bad * 1.5) is expected  # three make 2.45, four make 2.6


@pytest.mark.parametrize("width", [1, 3, 36, 500])
@pytest.mark.parametrize("as_tensor", [True, False])
def test_words_of_a_call_count_one_by_one(width: int, as_tensor: bool) -> None:
    watch, error = drift(words=400), 3.0 * width
    number = 1
    while not watch.due(width, torch.tensor(error) if as_tensor else error):
        number += 1
    assert 200 <= number * width < 200 + 50 + 2 * width


def test_words_that_were_removed_are_no_reason_but_count_as_replaced() -> None:
    watch = drift()
    assert not any(calls(watch, None, 500))
    assert calls(watch, 3.0, 10) == [False] * 9 + [True]


def test_without_an_error_it_is_time_once_all_were_replaced() -> None:
    assert calls(drift(fit=None), None, 81).index(True) == 79
    assert not any(calls(drift(fit=None, refresh_after=0), None, 500))


@pytest.mark.parametrize(("refresh_after", "first"), [(1.0, 80), (0.5, 40), (2.0, 160), (0.01, 1)])
@pytest.mark.parametrize("error", [0.0, 1e9, None])
def test_by_number_the_error_does_not_matter(
    refresh_after: float, first: int, error: float | None
) -> None:
    said = calls(drift(refresh_after=refresh_after), error, 200)
    assert said.index(True) == first - 1


@pytest.mark.parametrize("never", [0, 0.0])
def test_never(never: float) -> None:
    assert not any(calls(drift(refresh_after=never), 1e9, 500))


def test_a_copy_counts_on_its_own() -> None:
    watch = drift()
    calls(watch, 3.0, 35)
    other = watch.copied(torch.device("cpu"))
    assert calls(other, 1.0, 5) == [False] * 5
    assert calls(watch, 3.0, 5) == [False] * 4 + [True]
