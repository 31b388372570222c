"""What a step costs: the numbers that can be checked without a clock."""

import pytest
import torch

from sam import make_model
from sam.train import step_cost
from sam.train.step_cost import measure_step

SMALL = {"hidden_size": 8, "memory_size": 64, "word_size": 4, "num_heads": 2, "top_k": 2}


def test_costs_of_a_sparse_model() -> None:
    model = make_model("sam", 5, 2, **SMALL, index="ivf")
    cost = measure_step(model, torch.randn(6, 3, 5), rounds=2)
    assert (cost.steps, cost.batch_size, cost.searching) == (6, 3, "exact")
    assert cost.index_recall == 1
    assert cost.ms > 0 and cost.forward_ms > 0 and cost.backward_ms > 0
    assert cost.state_bytes is not None and cost.peak_bytes is not None
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_peak_of_a_dense_model_grows_with_its_memory() -> None:
    small, large = (
        measure_step(
            make_model("ntm", 5, 2, hidden_size=8, memory_size=size, word_size=4),
            torch.randn(4, 2, 5),
            rounds=1,
        )
        for size in (64, 512)
    )
    assert small.peak_bytes is not None and large.peak_bytes is not None
    # At least the words of each of the 4 steps, for both rows.
    assert large.peak_bytes - small.peak_bytes > 4 * 4 * 2 * 4 * (512 - 64)
    assert small.index_recall is None and small.searching is None


def test_a_full_memory_is_searched_by_its_index() -> None:
    settings = SMALL | {"memory_size": 256}
    model = make_model("sam", 5, 2, **settings, index="exact")
    cost = measure_step(model, torch.randn(3, 2, 5), words=torch.randn(256, 4), rounds=2)
    fresh = measure_step(model, torch.randn(3, 2, 5), rounds=2)
    assert cost.state_bytes is not None and fresh.state_bytes is not None
    assert cost.state_bytes > fresh.state_bytes
    assert cost.peak_bytes is None


@pytest.mark.parametrize("loaded", [False, True])
def test_of_a_long_sequence_the_last_steps_are_audited(monkeypatch, loaded) -> None:
    """With all words that the steps before have written, since those are what makes recall hard."""
    audits = []

    class Watched(step_cost.Audit):
        def __enter__(self):
            audits.append(self)
            return super().__enter__()

    monkeypatch.setattr(step_cost, "Audit", Watched)
    monkeypatch.setattr(step_cost, "AUDITED", 4)
    model = make_model("sam", 5, 2, **SMALL)
    words = torch.randn(9, 4) if loaded else None
    cost = measure_step(model, torch.randn(11, 2, 5), words=words, rounds=1)
    assert cost.index_recall == 1 and cost.searching == "exact"
    assert [audit.searches.total() for audit in audits] == [4]


def test_the_baseline_has_costs_too() -> None:
    cost = measure_step(make_model("lstm", 5, 2, hidden_size=8), torch.randn(3, 2, 5), rounds=1)
    assert cost.state_bytes == 2 * 2 * 8 * 4
    assert cost.peak_bytes == pytest.approx(cost.peak_bytes, abs=0)
