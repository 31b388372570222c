"""While an index with lists compares every word anyway, compiled sequences do that by themselves:
words, gradients, and all that the index counts are those of asking it at each step."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from index import IndexConfig, NonFiniteError, available_indexes, hashed, make_index
from index.audit import Audit
from index.hashed import HashedIndex
from index.ivf import IVFIndex
from sam import SDNC
from tests.fast.compiled_and_plain import IN, agree, assert_same, build, draw, outcome
from tests.fast.test_indexes import episode

pytest.importorskip("numba")

BATCH = 2


def run(scenario: Any, **options: Any) -> tuple[Any, HashedIndex, int]:
    """What comes out, the index after it, and at how many steps it was asked."""
    from sam.fast import cell_step, memory_step  # they need numba
    from sam.fast.index_steps import IndexSteps

    kept: list[Any] = []
    asked: list[int] = []

    def keeping(model: Any) -> Any:
        found = scenario(model)
        kept.append(found[1].memory.index)
        return found

    def counted(own: Any) -> Any:
        def called(*given: Any) -> Any:
            asked.append(1)
            return own(*given)

        return called

    # What a sequence does at a step at which it asks, and what a single step does.
    with (
        patch.object(IndexSteps, "_advance", counted(IndexSteps._advance)),
        patch.object(cell_step, "query_index", counted(cell_step.query_index)),
        patch.object(memory_step, "query_index", counted(memory_step.query_index)),
    ):
        found = outcome(build(True, **options), keeping)
    return found, kept[0], len(asked)


def state_of(index: HashedIndex) -> dict[str, Any]:
    """All that an index holds in slots that are in use, and counts."""
    used, lists, hash_, tuner = index._in_use, index._lists, index._hash, index._tuner
    found = {
        "words": index._words[:, 1 : 1 + used],
        "penalty": index._penalty[:, 1 : 1 + used],
        "in use": (used, index._promised),
        "rest": vars(index._rest),
        "rebuilds": (index._rebuilds, index._filling and vars(index._filling)),
        "tuner": None
        if tuner is None
        else {k: v for k, v in vars(tuner).items() if k not in ("_needed", "_usual", "glances")},
        "glances": {} if tuner is None else vars(tuner.glances),
        "looks": {} if tuner is None else tuner.looks_so_far(),
    }
    if lists is not None and hash_ is not None:
        found["lists"] = lists.list_of(torch.arange(len(lists._list_of)))
        found["places"] = lists._place_of
        found["hash"] = hash_.content()
    return found


def assert_like_stepping(scenario: Any, **options: Any) -> tuple[int, int]:
    """How many exchanges were made, and how many are by who asks the index at each step."""
    taken, index, made = run(scenario, **options)
    with patch.object(HashedIndex, "exact_exchanges", lambda *given: None):
        stepped, asked, steps = run(scenario, **options)
    assert_same(taken, stepped)
    torch.testing.assert_close(state_of(index), state_of(asked), rtol=1e-10, atol=1e-11)
    return made, steps


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one call": ({}, {"loaded": 0, "sizes": (30,)}),
    "several calls": ({}, {"loaded": 0, "sizes": (4, 9, 5)}),
    "a full memory": ({"memory_size": 12}, {"loaded": 0, "sizes": (40,)}),
    "rows that begin anew": (
        {},
        {"loaded": 9, "sizes": (25, 6), "starts": [(0, 1), (5, 0), (5, 1)]},
    ),
    "full rows begin anew": (
        {"memory_size": 12},
        {"loaded": 0, "sizes": (25, 30), "starts": [(4, 1), (9, 0), (10, 0), (24, 1)]},
    ),
    "rows that wait": ({}, {"loaded": 0, "sizes": (30,), "lengths": [11, 30]}),
}
LARGE: dict[str, Any] = {"memory_size": 400}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["ivf", "lsh"])
def test_while_words_are_few_an_index_is_not_asked(kind: str, case: str) -> None:
    options, given = CASES[case]
    asked, steps = assert_like_stepping(episode(**given), index=kind, **LARGE | options)
    assert steps == sum(given["sizes"])
    # Only where a memory comes to be full does it depend on what was read how many are in use.
    assert asked == {"a full memory": 1, "full rows begin anew": 2}.get(case, 0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["auto", "product"])
def test_lists_are_made_at_the_step_at_which_stepping_makes_them(kind: str, case: str) -> None:
    options, given = CASES[case]
    index = IndexConfig(kind=kind, exact_below=10 if "memory_size" in options else 40, probes=2)
    asked, steps = assert_like_stepping(episode(**given), index=index, **LARGE | options)
    assert 0 < asked < steps


@pytest.mark.parametrize("controller", ["lstm", "other"])
@pytest.mark.parametrize("below", [None, 40])
def test_single_steps_do_likewise(controller: str, below: int | None) -> None:
    index = IndexConfig(kind="ivf", exact_below=below, probes=None if below is None else 2)
    scenario = episode(loaded=0, sizes=(1,) * 20)
    asked, steps = assert_like_stepping(scenario, index=index, controller=controller, **LARGE)
    assert steps == 20
    assert asked == 0 if below is None else 0 < asked < 20


def test_an_sdnc_and_its_links() -> None:
    options: Any = {"index": IndexConfig(kind="ivf", exact_below=20, probes=1), "model_type": SDNC}
    asked, steps = assert_like_stepping(episode(loaded=0, sizes=(30,)), **LARGE, **options)
    assert 0 < asked < steps == 30


def test_steps_agree_with_the_plain_form() -> None:
    index = IndexConfig(kind="ivf", exact_below=40, probes=1)
    agree(episode(loaded=0, sizes=(4, 26)), index=index, shared=2, **LARGE)


def test_steps_while_lists_that_do_not_pay_rest() -> None:
    """Lists are tried from 30 words on, and given up once the looks at recall have become rare."""
    scenario, options = episode(loaded=0, sizes=(160,)), {"index": "ivf", "memory_size": 40}
    with patch.object(hashed, "lists_from", lambda *given, **how: 30):
        asked, steps = assert_like_stepping(scenario, **options)
    assert 30 < asked < 120 < steps == 160


def test_who_has_hooks_of_their_own_or_rounded_words_is_asked() -> None:
    sizes: Any = {"batch_size": BATCH, "capacity": 64, "word_size": 8}
    assert make_index("ivf", **sizes).exact_exchanges(4) is not None
    rounded = IndexConfig(kind="ivf", storage="int8")
    assert make_index(rounded, **sizes).exact_exchanges(4) is None
    assert (
        type("Own", (IVFIndex,), {"_search": IVFIndex._search})(
            IndexConfig(kind="ivf"), **sizes
        ).exact_exchanges(4)
        is None
    )
    with Audit():
        assert make_index("ivf", **sizes).exact_exchanges(4) is None
    for kind in ("exact", "faiss"):
        if kind in available_indexes():
            assert make_index(kind, **sizes).exact_exchanges(4) is None


def test_a_memory_goes_on_from_a_file_bit_by_bit(tmp_path: Path) -> None:
    model = build(True, index=IndexConfig(kind="ivf", exact_below=40, probes=2), **LARGE)
    inputs = draw(40, BATCH, IN)
    _, state = model(inputs[:10])
    state = state.detach()
    state.save(tmp_path / "state")
    loaded = model.load_state(tmp_path / "state")
    (outputs, _), (again, _) = model(inputs[10:], state), model(inputs[10:], loaded)
    assert torch.equal(outputs, again)


def test_a_number_that_is_not_finite_is_refused() -> None:
    model, inputs = build(True, index="ivf", **LARGE), draw(12, BATCH, IN)
    inputs[8, 1, 2] = torch.nan
    with pytest.raises(NonFiniteError):
        model(inputs)
