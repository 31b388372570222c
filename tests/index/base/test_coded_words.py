"""Codes of a base's words: they change no answer, older bases have none, and damage is noticed."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from index import BaseMemory, FileFormatError
from index.base.coded import CodedVectors
from index.base.coded_words import CODES, SCALES
from index.base.header import NAME
from index.base.slot_map import SlotMap
from index.compiled import use_compiled
from index.list_copies import CodeCopies
from index.storage import Storage
from tests.index.oracle import FORMS

W = 10


def words_of(count: int = 900) -> Tensor:
    random = torch.Generator().manual_seed(3)
    words = torch.randn(count, W, generator=random)
    words *= 10 ** torch.empty(count, 1).uniform_(-2, 2, generator=random)
    words[::50] = 0
    return words


def without_codes(path: Path) -> None:
    """Makes a base what it was before there were codes."""
    base = BaseMemory.open(path)
    files = {name: file for name, file in base._header.files.items() if name not in (CODES, SCALES)}
    with_files(base, files)
    for name in (CODES, SCALES):
        (path / name).unlink()


def with_files(base: BaseMemory, files: Any) -> None:
    """Writes a header that names other files."""
    (base.path / NAME).unlink()
    replace(base._header, files=files).write(base.path)


@pytest.mark.skipif(len(FORMS) < 2, reason="needs numba")
def test_a_base_without_codes_opens_and_answers_alike(tmp_path: Path) -> None:
    words = words_of()
    base = BaseMemory.create(tmp_path / "base", words, index="ivf", dtype="float16")
    assert {CODES, SCALES} <= {*base._header.files} and base._opened.tables.files[CODES].resident
    queries = torch.cat((words[1:90:2], -words[1:90:2]))
    # Of 32 neighbors many have scores below 0, which an eps brings nearer to it.
    asked = [(k, eps) for k in (1, 4, 32) for eps in (0.0, 0.5)]
    found = [base.search(queries, k, norm_eps=eps) for k, eps in asked]
    without_codes(tmp_path / "base")
    older = BaseMemory.open(tmp_path / "base", check=True)
    assert CODES not in older._opened.tables.files
    for (k, eps), mine in zip(asked, found, strict=True):
        other = older.search(queries, k, norm_eps=eps)
        torch.testing.assert_close(mine.scores, other.scores, rtol=0, atol=2e-6)
        different = mine.slots != other.slots  # words of zeros, all of which score 0
        assert bool((mine.scores[different] == 0).all()), (k, eps)


def test_codes_are_checked(tmp_path: Path) -> None:
    base = BaseMemory.create(tmp_path / "base", words_of(), index="ivf")
    files = base._header.files
    path = base.path / CODES
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(FileFormatError, match=r"codes\.npy: expected its own checksum"):
        BaseMemory.open(base.path, check=True)
    path.write_bytes(whole[:-1])
    with pytest.raises(FileFormatError, match=r"codes\.npy: expected \d+ bytes"):
        BaseMemory.open(base.path)
    path.write_bytes(whole)
    for wrong in (
        {name: file for name, file in files.items() if name != SCALES},
        files | {SCALES: files[CODES]},
    ):
        with_files(base, wrong)
        with pytest.raises(FileFormatError, match=r"code_scales\.npy"):
            BaseMemory.open(base.path)


def test_other_metrics_have_no_codes(tmp_path: Path) -> None:
    for metric in ("dot", "l2"):
        base = BaseMemory.create(tmp_path / "base", words_of(100), index="ivf", metric=metric)
        assert not {CODES, SCALES} & {*base._header.files}


@pytest.mark.parametrize("count, width", [(37, 7), (32, 8), (1, 1), (0, 5)])
def test_codes_lie_as_those_of_lists(count: int, width: int) -> None:
    vectors = torch.randn(count, width)
    coded = CodedVectors(vectors)
    copies = CodeCopies(Storage(torch.float32, width), count, torch.device("cpu"))
    copies.put(torch.arange(count), copies.of(vectors))
    codes, scales = (torch.from_numpy(part) for part in coded.arrays())
    assert torch.equal(codes, copies.words) and torch.equal(scales, copies.scales)
    assert (coded.vectors() - vectors).abs().max() < 0.02 if count else not len(coded.vectors())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_words_are_put_where_they_belong(tmp_path: Path, dtype, form: bool) -> None:
    base = BaseMemory.create(tmp_path / "base", words_of(), index="ivf", dtype=dtype)
    slots, rows = torch.tensor([3, 899, 3, 0]), torch.tensor([1, 0, 4, 2])
    with use_compiled(form):
        for _ in range(2):  # at first the system has yet to be asked for the pages
            table = torch.zeros(5, W)
            base.put_words(slots, table, rows)
            assert torch.equal(table[rows], base.words_at(slots)) and not table[3].any()
    wide = torch.zeros(5, W, dtype=torch.float64)
    base.put_words(slots, wide, rows)
    assert torch.equal(wide[rows], base.words_at(slots, dtype=torch.float64))


@pytest.mark.parametrize("form", FORMS)
def test_a_map_tells_what_it_handed_out(form: bool) -> None:
    with use_compiled(form):
        made = SlotMap(2, torch.device("cpu"))
        made.add(torch.tensor([[5, 7], [9, -1]]))
        places, new, highest = made.add_and_tell(torch.tensor([[7, 4, 4], [2, -1, 8]]))
        assert places.tolist() == [[1, 2, 2], [1, -1, 2]] and highest == 8
        assert new.tolist() == [[0, 1, 1], [2, 1, 2], [4, 2, 8]]
        assert made.add_and_tell(torch.tensor([[5], [9]]))[2] == -1


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_of_a_map_is_its_own(form: bool) -> None:
    with use_compiled(form):
        made = SlotMap(1, torch.device("cpu"))
        made.add(torch.tensor([[5, 7]]))
        for other in (
            copy.deepcopy(made),
            pickle.loads(pickle.dumps(made)),
            made.copied(torch.device("cpu")),
        ):
            other.add(torch.tensor([[6]]))
            assert other.find(torch.tensor([[6, 7]])).tolist() == [[2, 1]]
            assert made.find(torch.tensor([[6, 7]])).tolist() == [[-1, 1]]
            assert made.most == 2 and other.counts.tolist() == [3]


@pytest.mark.parametrize("form", FORMS)
def test_slots_that_follow_one_another_get_the_next_places(form: bool) -> None:
    with use_compiled(form):
        made, taken = SlotMap(3, torch.device("cpu")), torch.tensor([[0], [2], [0]])
        made.add(torch.tensor([[3], [4], [5]]))
        rows = torch.tensor([[True], [True], [False]])
        until = torch.tensor([[1], [40], [9]])  # for 40 the tables have to grow
        assert made.follow(100, taken, until, rows) and not made.follow(100, taken, until, rows)
        assert taken.tolist() == [[0], [41], [0]] and made.counts.tolist() == [1, 40, 1]
        assert made.most == 40
        found = made.find(torch.tensor([[100, 3], [102, 140], [100, 5]]))
        assert found.tolist() == [[-1, 0], [1, 39], [-1, 0]]


@pytest.mark.parametrize("form", FORMS)
def test_new_places_are_noted(form: bool) -> None:
    with use_compiled(form):
        made = SlotMap(2, torch.device("cpu"))
        table, head, end = torch.zeros(2, 4, dtype=torch.int64), *torch.ones(2, 2, 1).long()
        new = torch.tensor([[0, 1, 1, 7], [2, 0, 1, 7], [9, 8, 7, 7]])[:, :3]
        made.note(new, torch.tensor([[True], [False]]), table, (head, end))
    assert table.tolist() == [[0, 0, 0, 9], [0, 8, 7, 0]]
    assert head.tolist() == end.tolist() == [[2], [1]]
