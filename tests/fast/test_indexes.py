"""Indexes other than the exact one are asked at every step of a compiled sequence."""

import pytest
import torch

from index import ExactIndex, IndexConfig, Neighbors, registry
from tests.fast.compiled_and_plain import (
    IN,
    agree,
    assert_same,
    begun,
    build,
    draw,
    floats,
    leaf,
    outcome,
)
from tests.index.oracle import cases

pytest.importorskip("numba")

SIZE, BATCH = 400, 2
# So few probes that words are missed.
COARSE = {
    "auto": {"exact_below": 64, "probes": 1},
    "faiss": {"exact_below": 0, "probes": 1},
    "ivf": {"exact_below": 0, "probes": 1},
    "lsh": {"tables": 1, "probes": 1},
    "product": {"exact_below": 0, "probes": 1},
}


def episode(*, loaded=300, sizes=(14,), starts=(), lengths=None):
    """A sequence in a memory that holds words already."""

    def scenario(model):
        words = draw(loaded, model.cell.memory.word_size, seed=5) if loaded else None
        first, inputs = begun(model, BATCH, words=words), leaf(sum(sizes), BATCH, IN)
        state, parts = first, []
        for part in inputs.split(sizes):
            given, marks = part, torch.zeros(part.shape[:2], dtype=torch.bool)
            for step, row in starts:
                marks[step, row] = True
            if lengths is not None:
                given = torch.nn.utils.rnn.pack_padded_sequence(
                    part, torch.tensor(lengths), enforce_sorted=False
                )
            outputs, state = model(given, state, starts=marks if starts else None)
            parts.append(outputs if lengths is None else outputs.data)
        return torch.cat(parts), state, inputs, *floats(first)

    return scenario


@pytest.mark.parametrize("kind", cases(COARSE))
@pytest.mark.parametrize("controller", ["lstm", "other"])
def test_an_approximate_index_finds_what_it_finds_in_the_plain_form(kind, controller):
    config = IndexConfig(kind=kind, **COARSE[kind])
    options = {"memory_size": SIZE, "controller": controller}
    paths = ["sequence" if controller == "lstm" else "step"]
    found, _ = agree(episode(), index=config, paths=paths, **options)
    exact = outcome(build(True, **options), episode())
    missed = (found.close["outputs"] - exact.close["outputs"]).abs().max()
    assert missed > 1e-3, "every word was found"


SMALL = {
    "rows that begin anew": {"sizes": (25, 2, 30), "starts": [(0, 1), (1, 0)]},
    "rows that wait": {"sizes": (30,), "lengths": [30, 11]},
    "one call": {"sizes": (40,)},
}


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize("controller", ["lstm", "other"])
@pytest.mark.parametrize("kind", ["lsh", "ivf"])
def test_an_approximate_index_in_a_small_memory(kind, controller, case):
    """What it finds depends on how many slots it is told to be in use, at each step."""
    options = {"index": IndexConfig(kind=kind, **COARSE[kind]), "memory_size": 40}
    mixed = controller == "lstm" and case == "rows that begin anew"
    paths = {"lstm": ["sequence"], "other": ["step"]}[controller] + (["step"] if mixed else [])
    agree(episode(loaded=0, **SMALL[case]), controller=controller, paths=paths, **options)


class LeastAlike(ExactIndex):
    """Finds what is least like the query."""

    def _search(self, queries, k):
        slots, scores = super()._search(-queries, k)
        return Neighbors(slots, torch.where(slots < 0, scores, -scores))


@pytest.mark.parametrize("controller", ["lstm", "other"])
def test_an_index_of_the_users_own_is_asked(monkeypatch, controller):
    """It derives from the exact index, whose search must not take the place of its own."""
    monkeypatch.setattr(registry, "_INDEXES", {**registry._INDEXES, "least": LeastAlike})
    paths = ["sequence" if controller == "lstm" else "step"]
    options = {"controller": controller, "paths": paths}
    found, _ = agree(episode(loaded=0, sizes=(30,)), index="least", **options)
    exact = outcome(build(True, controller=controller), episode(loaded=0, sizes=(30,)))
    assert not torch.equal(found.equal["read slots"], exact.equal["read slots"])


@pytest.mark.parametrize("controller", ["lstm", "other"])
def test_an_exact_index_is_asked_that_keeps_words_rounded(controller):
    """The loops would read and write them as they come."""
    scenario = episode(loaded=0, sizes=(30,))
    options = {"controller": controller, "word_size": 8}
    paths = ["sequence" if controller == "lstm" else "step"]
    found, _ = agree(scenario, index=IndexConfig(storage="int8"), paths=paths, **options)
    exact = outcome(build(True, **options), scenario)
    assert not torch.equal(found.equal["read slots"], exact.equal["read slots"])


@pytest.mark.parametrize("controller", ["lstm", "other"])
@pytest.mark.parametrize("most", [0, 20])
def test_an_exact_index_is_asked_where_many_words_are_in_use(monkeypatch, most, controller):
    """As in the plain form, and whether the limit is passed in a call or between two."""
    scenario = episode(loaded=0, sizes=(4, 5, 6, 4), starts=[(0, 1)])
    options = {"memory_size": 70, "controller": controller}
    looped = outcome(build(True, **options), scenario)
    monkeypatch.setattr("sam.fast.array_views._MOST_LOOPED", most)
    searches, search = [], ExactIndex._search

    def counted(*given):
        searches.append(given)
        return search(*given)

    monkeypatch.setattr(ExactIndex, "_search", counted)
    paths = ["sequence" if controller == "lstm" else "step"]
    found, _ = agree(scenario, paths=paths, **options)
    assert_same(found, looped)
    searches.clear()
    outcome(build(True, **options), scenario)
    asked = len(searches) - 2 - 1  # the steps before, and the comparison itself
    assert asked == 19 if most == 0 else 0 < asked < 19
