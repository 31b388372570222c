"""The tables of a `HashedIndex` in a file: what was learned, the list of each word, the looks."""

from typing import Any

import torch
from torch import Tensor

from index.contents import Contents
from index.drift import Drift
from index.inverted_lists import InvertedLists
from index.table_building import filled_lists, rows_in_use

_LAYOUT = 2
_MOST_LOOKS, _MOST_K = 4096, 2**31


def table_content(index: Any) -> dict[str, Tensor]:
    """What a file has beside the words; nothing while there are no tables."""
    lists: InvertedLists | None = index._lists
    if lists is None or index._filling is not None:
        return {}
    homes = lists.list_of(rows_in_use(index))
    first = lists.number(torch.zeros_like(homes))
    numbers = torch.where(homes < 0, -1, homes - first).int()
    drift: Drift = index._drift
    kept = [_LAYOUT, index._sized_for, lists.tables, lists.lists, drift.words, drift.replaced]
    parts = {"layout": torch.tensor(kept), "lists": numbers.cpu()}
    if drift.fit is not None:
        parts["fit"] = torch.tensor([drift.fit], dtype=torch.float64)
    parts |= {f"hash_{name}": part.cpu() for name, part in index._hash.content().items()}
    if index._tuner is not None:
        parts |= {f"looks_{k}": needed for k, needed in index._tuner.looks_so_far().items()}
        parts["progress"] = torch.tensor(index._tuner.progress(), dtype=torch.float64)
    return parts


def restore_table(index: Any, given: Contents) -> None:
    """Takes it back; tables of another layout or size are made anew, when they are needed."""
    layout = given.peek("layout")
    if layout is None or layout.numel() == 0 or int(layout.flatten()[0]) != _LAYOUT:
        given.ignore()
        return
    bounds = 0, 2**31
    _, sized_for, tables, count, words, replaced = given.integers("layout", (6,), *bounds).tolist()
    # The number of lists that grow is that of their centroids; other tables follow the rule.
    as_by_rule = index.hash_type.grows or index.size(sized_for)[:2] == (tables, count)
    if not (as_by_rule and index._fits(sized_for)):
        given.ignore()
        return
    shape = index.batch_size, index._in_use, tables
    numbers = given.integers("lists", shape, -1, max(1, count), torch.int32).long()
    numbers = numbers.to(index.device)
    occupied = index._penalty[:, 1 : 1 + index._in_use] == 0
    if not torch.equal(numbers >= 0, occupied.unsqueeze(2).expand_as(numbers)):
        raise given.refuse("lists", "a list for each word and no other", "others")
    hashed = index.hash_type.restored(given, index, tables, count)
    lists = filled_lists(index, hashed, numbers, occupied)
    fit = None
    if given.peek("fit") is not None:
        fit = float(given.finite("fit", (1,), torch.float64))
    drift = Drift(fit, words, index.config.refresh_after)
    drift.replaced = replaced
    looks = {}
    for name in given.names():
        if name.startswith("looks_"):
            looks[_number(given, name)] = given.tensor(name, (None, None), torch.float64)
    progress = []
    if given.peek("progress") is not None:
        progress = given.finite("progress", (None, 6), torch.float64).tolist()
    if index._tuner is not None:
        index._tuner.take_looks(looks, progress)
    index._lists, index._hash, index._drift, index._sized_for = lists, hashed, drift, sized_for


def _number(given: Contents, name: str) -> int:
    """k of the part looks_k, after a look at its shape."""
    text, part = name.removeprefix("looks_"), given.peek(name)
    fits = text.isdecimal() and 0 < int(text) < _MOST_K and part is not None
    if not fits or part is None or part.dim() != 2 or part.shape[1] != int(text):
        raise given.refuse(name, "looks for so many neighbors", "others")
    if not 0 < len(part) <= _MOST_LOOKS or bool((part < 1).any()):
        raise given.refuse(name, "numbers of words", "others")
    return int(text)
