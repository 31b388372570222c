"""When an index uses its compiled forms, and who has none."""

import pytest
import torch

from index import IndexConfig, make_index
from index.compiled import VARIABLE, use_compiled
from index.spelling import parse_index, spell_index
from tests.index.oracle import NEEDS_FAISS

pytest.importorskip("numba")
KINDS = ("exact", "ivf", "lsh", "product")
# Functions that are compiled: what finds lists for all words, puts words into lists, and searches.
HASHES = {
    "ivf": (["nearest_lists"], ["put_nearest"], ["find_near"]),
    "lsh": (["codes_of"], ["codes_of", "put_words"], ["choose_codes", "look_into"]),
    "product": (["nearest_cells"], ["nearest_cells", "put_words"], ["choose_cells", "look_into"]),
}
NAMES = {"best_of_all", "prepare"}.union(*(part for parts in HASHES.values() for part in parts))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which compiled functions are called, in order."""
    from index.kernels import cells, codes, list_loops, list_moves, lists, prepare
    from index.kernels import exact_search as exact

    names: list[str] = []
    for module in (cells, codes, exact, list_loops, list_moves, lists, prepare):
        for name in NAMES:
            if hasattr(module, name):
                real = getattr(module, name)

                def noted(*given, real=real, name=name):
                    names.append(name)
                    return real(*given)

                monkeypatch.setattr(module, name, noted)
    return names


def steps(kind: str, compiled: bool | None = None, dtype: torch.dtype = torch.float32) -> None:
    """An update, a search and an exchange of a fresh index."""
    options = {} if kind == "exact" else {"exact_below": 0, "probes": 1}
    config = IndexConfig(kind=kind, compiled=compiled, **options)
    index = make_index(config, batch_size=1, capacity=64, word_size=4, dtype=dtype)
    index.reserve(64)
    words = torch.randn(1, 60, 4, dtype=dtype)
    index.update(torch.arange(60).view(1, 60), words)
    index.search(words[:, :5], 2)
    index.exchange(torch.arange(5).view(1, 5), words[:, :5], words[:, :5], 2)


def expected(kind: str) -> list[str]:
    """What `steps` call; with the first words tables are made, so none is put into them."""
    if kind == "exact":
        return ["best_of_all", "prepare", "best_of_all"]
    assign, put, search = HASHES[kind]
    return [*assign, *search, "prepare", *put, *search]


@pytest.mark.parametrize("kind", KINDS)
def test_the_config_comes_before_the_block_and_that_before_the_environment(
    kind: str, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(compiled: bool | None = None, dtype: torch.dtype = torch.float32) -> bool:
        calls.clear()
        steps(kind, compiled, dtype)
        assert calls in ([], expected(kind))
        return calls == expected(kind)

    monkeypatch.delenv(VARIABLE, raising=False)
    assert used() and used(True) and not used(False)
    assert used(True, torch.float64) and not used(None, torch.float64)
    monkeypatch.setenv(VARIABLE, "0")
    assert not used() and used(True)
    with use_compiled(True):
        assert used() and not used(False)
    monkeypatch.setenv(VARIABLE, "1")
    with use_compiled(False):
        assert not used() and used(True)


def test_an_index_may_change_over_at_any_time(calls: list[str]) -> None:
    index = make_index(
        IndexConfig(kind="ivf", exact_below=0), batch_size=1, capacity=64, word_size=4
    )
    words = torch.randn(1, 9, 4)
    for step, compiled in enumerate((True, False, True)):
        with use_compiled(compiled):
            calls.clear()
            index.update(torch.arange(9).view(1, 9) + 9 * step, words + step)
            found = index.search(words + step, 1)
            assert found.slots.flatten().tolist() == list(range(9 * step, 9 * step + 9))
            assert bool(calls) == compiled


@pytest.mark.parametrize("kind", KINDS)
def test_away_from_the_cpu_there_are_none(kind: str) -> None:
    config = IndexConfig(kind=kind, compiled=True)
    sizes = {"batch_size": 1, "capacity": 64, "word_size": 4}
    with pytest.raises(ValueError, match="compiled: expected float32 or float64 on the CPU"):
        make_index(config, device="meta", **sizes)
    make_index(IndexConfig(kind=kind, compiled=False), device="meta", **sizes)


@NEEDS_FAISS
def test_an_index_without_compiled_forms_refuses_the_option() -> None:
    config = IndexConfig(kind="faiss:Flat", compiled=True)
    with pytest.raises(ValueError, match="compiled: not an option of index 'faiss:Flat'"):
        make_index(config, batch_size=1, capacity=64, word_size=4)


def test_the_option_as_a_value_and_as_a_word() -> None:
    assert IndexConfig().given() == ()
    assert IndexConfig(compiled=False, probes=2).given() == ("probes", "compiled")
    with pytest.raises(ValueError, match="compiled: expected true, false or None, got 2"):
        IndexConfig(compiled=2)  # pyright: ignore[reportArgumentType]
    for text, value in (("1", True), ("true", True), ("0", False), ("False", False)):
        config = parse_index(f"ivf[compiled={text}]")
        assert config == IndexConfig(kind="ivf", compiled=value)
        assert parse_index(spell_index(config)) == config
    with pytest.raises(ValueError, match="expected true or false for compiled, got '2'"):
        parse_index("ivf[compiled=2]")
