"""Bases with an approximate index: what is found, at which scores, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from index import BaseMemory, FileFormatError, IndexConfig, ShapeError, make_index, recall_at_k
from index.base import checked_json, header
from index.compiled import use_compiled
from index.testing import METRICS
from tests.index.oracle import FORMS, cases

KINDS = cases(["ivf", "product", "faiss", "faiss:HNSW8", "faiss:IVF32,SQ8", "faiss:PQ4"])
COUNT, WIDTH = 3000, 8


def clustered(count: int = COUNT, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(count // 20, 1, WIDTH, generator=generator)
    return (centers + 0.2 * torch.randn(count // 20, 20, WIDTH, generator=generator)).flatten(0, 1)


def near(words: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    some = words[torch.randperm(len(words), generator=generator)[:40]]
    return (some + 0.05 * torch.randn(some.shape, generator=generator)).to(dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_true_and_most_of_the_best_are_found(tmp_path, kind: str, metric) -> None:
    words = clustered()
    base = BaseMemory.create(tmp_path / "base", words, index=kind, metric=metric)
    assert torch.equal(base.words_at(torch.arange(COUNT)), words), "slots keep their words"
    assert BaseMemory.open(tmp_path / "base", check=True).identity == base.identity
    oracle = make_index(IndexConfig(kind="exact", metric=metric), capacity=COUNT, word_size=WIDTH)
    oracle.load(words)
    queries = near(words)
    true = oracle.search(queries, 4)
    exact = base.search(queries, 4, exact=True)
    assert torch.equal(exact.slots, true.slots)
    found = base.search(queries, 4)
    assert (found.slots >= 0).all()
    for row in found.slots.tolist():
        assert len(set(row)) == 4
    scores = oracle.search(queries, COUNT)
    by_slot = torch.empty(len(queries), COUNT).scatter_(1, scores.slots, scores.scores)
    torch.testing.assert_close(found.scores, by_slot.gather(1, found.slots), rtol=1e-5, atol=1e-5)
    assert (found.scores.diff(dim=1) <= 0).all()
    assert recall_at_k(found, true).mean() >= 0.8


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("kind", ["ivf", "product"])
def test_lists_in_both_forms(tmp_path: Path, kind: str, dtype, form: bool) -> None:
    """Where all words are met the answer is that of an exact search."""
    words = clustered(1000)
    for metric in METRICS:
        given = {"index": kind, "dtype": dtype, "metric": metric}
        with use_compiled(form):
            base = BaseMemory.create(tmp_path / "base", words, **given, recall=1.0)
            base._opened.tables.budget = len(words)
            kinds = (torch.float32, torch.float64) if dtype == "float32" else (torch.float32,)
            for kind_of_query in kinds:
                queries = near(words, kind_of_query)
                for k in (1, 4, 40):
                    found = base.search(queries, k, norm_eps=0.1)
                    exact = base.search(queries, k, norm_eps=0.1, exact=True)
                    tolerance = 1e-5 if kind_of_query == torch.float32 else 1e-12
                    close = {"rtol": tolerance, "atol": tolerance}
                    torch.testing.assert_close(found.scores, exact.scores, **close)
                    assert (found.slots == exact.slots).float().mean() > 0.99


@pytest.mark.parametrize("kind", cases(["ivf", "product", "faiss"]))
def test_the_recall_is_as_high_as_asked_for_and_not_much_higher(tmp_path, kind: str) -> None:
    words = torch.randn(6000, WIDTH)
    some = words[::7]
    noise = torch.randn(some.shape) / WIDTH**0.5
    queries = some + 0.3 * torch.linalg.vector_norm(some, dim=1, keepdim=True) * noise
    budgets = []
    for recall in (0.6, 0.9):
        base = BaseMemory.create(tmp_path / "base", words, index=kind, recall=recall)
        true, found = (base.search(queries, 4, exact=exact) for exact in (True, False))
        assert recall - 0.03 < recall_at_k(found, true).mean() < 1
        budgets.append(base.tables.get("budget", base.tables.get("probes")))
    assert budgets[0] < budgets[1] < len(words) / 2


@pytest.mark.skipif(len(FORMS) < 2, reason="needs numba")
def test_both_forms_look_into_the_same_lists(tmp_path: Path) -> None:
    words = clustered()
    for kind in ("ivf", "product"):
        base = BaseMemory.create(tmp_path / "base", words, index=kind)
        assert base._opened.tables.budget < COUNT / 2
        answers = []
        for form in FORMS:
            with use_compiled(form):
                answers.append(base.search(near(words), 4))
        assert torch.equal(answers[0].slots, answers[1].slots)
        torch.testing.assert_close(answers[0].scores, answers[1].scores)


@pytest.mark.parametrize("form", FORMS)
def test_pages_of_lists_are_asked_for_once(tmp_path: Path, form: bool) -> None:
    words = clustered()
    BaseMemory.create(tmp_path / "base", words, index="ivf")
    base = BaseMemory.open(tmp_path / "base")
    file, asked = base._opened.words.file, []
    announce = file._announce
    file._announce = lambda pages: (asked.append(pages.tolist()), announce(pages))
    with use_compiled(form):
        for _ in range(2):
            found = base.search(words[:1], 4)
        rows = base._opened.words.rows_of(found.slots[0])
        pages = (rows * 4 * WIDTH + 128) // 4096
        assert {*pages.tolist()} <= {*asked[0]}, "all that was read was asked for"
        assert len(asked) == 1 and len(asked[0]) < 24
        base.search(-words[:1], 4)
    assert len(asked) == 2 and not {*asked[0]} & {*asked[1]}


@pytest.mark.parametrize("kind", KINDS)
def test_few_words_and_many_neighbors(tmp_path: Path, kind: str) -> None:
    words = clustered(400)
    base = BaseMemory.create(tmp_path / "base", words, index=kind)
    found = base.search(words[:2], 500)
    assert found.slots.shape == (2, 500)
    for row, scores in zip(found.slots.tolist(), found.scores, strict=True):
        slots = [slot for slot in row if slot >= 0]
        assert len(set(slots)) == len(slots) and len(slots) <= 400
        assert scores[len(slots) :].eq(-torch.inf).all()
    assert (found.slots >= 0).sum() == 800


@pytest.mark.parametrize("kind", ["ivf", "product", *cases(["faiss"])])
def test_one_word(tmp_path: Path, kind: str) -> None:
    base = BaseMemory.create(tmp_path / "base", torch.ones(1, 1), index=kind)
    found = base.search(torch.ones(1, 1), 2)
    assert found.slots.tolist() == [[0, -1]]
    zeros = BaseMemory.create(tmp_path / "zeros", torch.zeros(40, 3), index=kind)
    found = zeros.search(torch.zeros(1, 3), 2)
    assert not found.scores.isnan().any()


@pytest.mark.parametrize("length", [1e-30, 1e30])
def test_cosines_do_not_depend_on_lengths(tmp_path: Path, length: float) -> None:
    words = clustered(400)
    queries = near(words)
    expected = BaseMemory.create(tmp_path / "a", words).search(queries, 3)
    for kind in ("exact", "ivf"):
        base = BaseMemory.create(tmp_path / "b", length * words, index=kind, recall=1.0)
        found = base.search(length * queries, 3)
        torch.testing.assert_close(found.scores[:, 0], expected.scores[:, 0])


@pytest.mark.parametrize("kind", ["ivf", *cases(["faiss:IVF32,SQ8"])])
def test_hidden_words_are_not_found(tmp_path: Path, kind: str) -> None:
    """A memory that has hidden the words near a query finds those farther away, others do not."""
    words = clustered()
    base = BaseMemory.create(tmp_path / "base", words, index=kind, recall=1.0)
    given = {"batch_size": 2, "capacity": 4000, "word_size": WIDTH}
    index = make_index("exact", base=base, **given)
    queries = words[:1].expand(2, 1, -1)
    assert index.searching == kind
    best = index.search(queries, 60).slots[0, 0]
    gone = torch.stack((best[:50], torch.full((50,), -1)))
    index.remove(gone)
    found = index.search(queries, 4)
    assert found.slots[0, 0].tolist() == best[50:54].tolist()
    assert found.slots[1, 0].tolist() == best[:4].tolist()
    index.update([[int(best[1])], [-1]], words[None, :1].expand(2, -1, -1))
    assert index.search(queries, 2).slots[0, 0].tolist() == [int(best[1]), int(best[50])]
    assert index.occupancy.tolist() == [COUNT - 49, COUNT]


@pytest.mark.parametrize("kind", cases(["faiss:PQ4", "faiss:IVF999,Flat"]))
def test_too_few_words_to_learn_from(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ShapeError, match=r"words: expected at least \d+ for index 'faiss:"):
        BaseMemory.create(tmp_path / "base", clustered(200), index=kind)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", cases(["faiss:Tree7", "faiss:"]))
def test_unknown_factories(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match="kind: expected after 'faiss:' a FAISS factory string"):
        BaseMemory.create(tmp_path / "base", clustered(200), index=kind)
    assert not [*tmp_path.iterdir()]


def change(folder: Path, edit) -> None:
    """Edits the header, with a checksum that fits."""
    path = folder / header.NAME
    content = json.loads(path.read_text())
    del content["sha256"]
    edit(content)
    content["sha256"] = checked_json.checksum(content)
    path.write_text(json.dumps(content))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


LIST_DAMAGES = {
    "no budget": (lambda f: change(f, lambda c: c["tables"].clear()), "a budget"),
    "a budget of text": (lambda f: change(f, lambda c: c["tables"].update(budget="9")), "a budget"),
    "no order": (lambda f: change(f, lambda c: c["files"].pop("row_of.npy")), "got one of them"),
    "no starts": (lambda f: change(f, lambda c: c["files"].pop("starts.npy")), "starts.npy"),
    "no hash": (lambda f: change(f, lambda c: c["files"].pop("hash_center.npy")), "hash_center"),
    "another hash": (lambda f: change(f, lambda c: c.update(index="product")), "hash_"),
    "changed lists": (lambda f: flip(f / "starts.npy"), "starts.npy: expected its own checksum"),
    "changed hash": (lambda f: flip(f / "hash_center.npy"), "expected its own checksum"),
    "no file": (lambda f: (f / "slot_of.npy").unlink(), "slot_of.npy: expected a file"),
}


@pytest.mark.parametrize("name", LIST_DAMAGES)
def test_damaged_lists_are_refused(tmp_path: Path, name: str) -> None:
    damage, text = LIST_DAMAGES[name]
    BaseMemory.create(tmp_path / "base", clustered(400), index="ivf")
    damage(tmp_path / "base")
    with pytest.raises(FileFormatError, match=text) as caught:
        BaseMemory.open(tmp_path / "base")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["row_of.npy", "slot_of.npy"])
def test_an_order_that_leads_nowhere(tmp_path: Path, name: str) -> None:
    """It is not read at once, and refused where it is used."""
    BaseMemory.create(tmp_path / "base", clustered(400), index="ivf")
    path = tmp_path / "base" / name
    data = path.read_bytes()
    for wrong in (400, -1):
        path.write_bytes(data[:128] + wrong.to_bytes(4, "little", signed=True) * 400)
        base = BaseMemory.open(tmp_path / "base")
        with pytest.raises(FileFormatError, match=rf"{name}: .* 0 \.\. 399, got {wrong}"):
            base.words_at(torch.tensor([7]))
            base.search(torch.ones(1, WIDTH), 1)


@pytest.mark.parametrize("kind", cases(["faiss"]))
def test_a_file_of_faiss_that_is_not_of_the_words(tmp_path: Path, kind: str) -> None:
    path, words = tmp_path / "base", clustered(400)
    BaseMemory.create(path, words, index=kind)
    good = (path / "index.faiss").read_bytes()
    flip(path / "index.faiss")
    with pytest.raises(FileFormatError, match=r"index\.faiss: expected its own checksum"):
        BaseMemory.open(path, check=True)
    (path / "index.faiss").write_bytes(good[:-1])
    with pytest.raises(FileFormatError, match=r"index\.faiss: expected .* bytes, got"):
        BaseMemory.open(path)
    (path / "index.faiss").write_bytes(b"x" * len(good))
    with pytest.raises(FileFormatError, match=r"index\.faiss: expected a file of FAISS"):
        BaseMemory.open(path)
    BaseMemory.create(tmp_path / "other", words[:390], index=kind)
    other = (tmp_path / "other" / "index.faiss").read_bytes()
    (path / "index.faiss").write_bytes(other)
    change(path, lambda c: c["files"]["index.faiss"].update(size=len(other)))
    with pytest.raises(FileFormatError, match=r"of 400 words .* got IndexIVFFlat of \(390, 8\)"):
        BaseMemory.open(path)
