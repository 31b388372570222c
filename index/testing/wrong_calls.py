"""Wrong calls: one error each, and the index as before."""

from collections.abc import Callable
from typing import Any

import torch

from index.errors import NonFiniteError, ShapeError
from index.testing.subject import Subject, filled, part, raises


@part
def wrong_calls_raise_and_change_nothing(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    slots, words = torch.tensor([[0, 50], [1, 51]]), torch.ones(2, 2, 5)
    spoiled = words.clone()
    spoiled[1, 1, 4] = torch.nan
    index.reserve(60)
    calls: list[tuple[type[Exception], Callable[[], Any]]] = [
        (ValueError, lambda: index.update(slots + 20, words)),
        (ValueError, lambda: index.update(slots - 2, words)),
        (ValueError, lambda: index.remove(slots + 20)),
        (ShapeError, lambda: index.update(slots.float(), words)),
        (ShapeError, lambda: index.update(slots[:1], words)),
        (ShapeError, lambda: index.update(slots, words[..., :4])),
        (NonFiniteError, lambda: index.update(slots, spoiled)),
        (ShapeError, lambda: index.search(words[:1], 2)),
        (NonFiniteError, lambda: index.search(spoiled, 2)),
        (ValueError, lambda: index.search(words, 0)),
        (ShapeError, lambda: index.reset(torch.ones(3, dtype=torch.bool))),
        (NonFiniteError, lambda: index.exchange(slots, spoiled, queries, 2)),
        (NonFiniteError, lambda: index.exchange(slots, words, spoiled, 2)),
        (ValueError, lambda: index.exchange(slots + 20, words, queries, 2)),
    ]
    for error, call in calls:
        with raises(error):
            call()
        oracle.assert_agrees(index, queries, 12)
