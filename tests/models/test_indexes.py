"""SAM with each index: same slots, same numbers; and what is told about the search."""

import pytest
import torch

from index import Audit, IndexConfig
from sam import SAM
from sam.train.folder import build_model
from sam.train.settings import resolve
from tests.index.oracle import NEEDS_FAISS, cases

SIZES = {"hidden_size": 16, "memory_size": 64, "word_size": 8, "num_heads": 2, "top_k": 3}
# Looks into every bucket, and so finds what exact search finds.
THOROUGH = {"exact_below": 0, "probes": 2**10}
KINDS = cases(("lsh", "ivf", "product", "auto", "faiss"))


def model_with(index: str | IndexConfig) -> SAM:
    torch.manual_seed(1)
    return SAM(5, 4, index=index, **SIZES).double()


def run(index: str | IndexConfig) -> tuple[torch.Tensor, list[torch.Tensor], SAM]:
    """Outputs, gradients and the model, after 40 steps, for equal parameters and inputs."""
    model = model_with(index)
    inputs = torch.randn(40, 3, 5, generator=torch.Generator().manual_seed(2)).double()
    starts = torch.zeros(40, 3, dtype=torch.bool)
    starts[25, 1] = True
    outputs, _ = model(inputs, starts=starts)
    outputs.square().sum().backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return outputs.detach(), grads, model


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_exact_search(kind: str) -> None:
    expected, wanted, _ = run("exact")
    with Audit() as audit:
        outputs, grads, _ = run(IndexConfig(kind=kind, **THOROUGH))
    name = "ivf" if kind == "auto" else kind
    assert audit.recall == 1
    assert audit.searches == {name: 40}, "the search was not the one under test"
    torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-12)
    assert len(grads) == len(wanted) > 0
    for grad, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, want, rtol=1e-7, atol=1e-12)


def test_a_search_that_misses_words_still_trains() -> None:
    with Audit() as audit:
        outputs, grads, _ = run(IndexConfig(kind="lsh", tables=1, probes=1))
    assert audit.recall is not None and 0.1 < audit.recall < 0.99
    assert outputs.isfinite().all()
    assert all(grad.isfinite().all() and grad.abs().sum() > 0 for grad in grads)


def test_the_trace_says_which_search_answered() -> None:
    model = model_with(IndexConfig(kind="auto", exact_below=21))
    inputs = torch.randn(20, 2, 5).double()
    _, state = model(inputs, trace=True)
    assert state.trace.searching == ("exact",) * 10 + ("ivf",) * 10  # two new words a step
    _, state = SAM(5, 4, **SIZES).double()(inputs, trace=True)
    assert state.trace.searching == ("exact",) * 20
    assert state.detach().trace.searching == ("exact",) * 20


def test_a_state_is_copied_with_its_index() -> None:
    model = model_with(IndexConfig(kind="ivf", **THOROUGH))
    inputs = torch.randn(60, 2, 5).double()
    _, state = model(inputs[:30])
    copy = state.clone()
    first, _ = model(inputs[30:], state)
    second, _ = model(inputs[30:], copy)
    assert torch.equal(first, second)
    assert state.memory.index is not copy.memory.index


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_memory_is_read_at_the_first_step(kind: str) -> None:
    model = model_with(IndexConfig(kind=kind, **THOROUGH))
    words = torch.randn(64, 8)
    _, state = model(torch.randn(1, 2, 5).double(), model.initial_state(2, words=words))
    assert (state.memory.read_weights.slots >= 0).all()


@pytest.mark.parametrize("kind", ["ivf", "product", "lsh", "auto"])
def test_each_read_of_a_large_full_memory_finds_k_words(kind: str) -> None:
    """With the index as it is by default: no read is empty, so all get a gradient."""
    torch.manual_seed(0)
    sizes = SIZES | {"memory_size": 2**12}
    model = SAM(5, 4, index=IndexConfig(kind=kind, exact_below=0), **sizes)
    state = model.initial_state(2, words=torch.randn(2**12, 8))
    with Audit() as audit:
        for _ in range(20):
            _, state = model(torch.randn(1, 2, 5), state)
            slots = state.memory.read_weights.slots
            assert slots.shape == (2, 2, 3) and (slots >= 0).all()
            assert (slots.sort(2).values.diff(dim=2) > 0).all()
    assert audit.searches == {"ivf" if kind == "auto" else kind: 20}
    assert audit.recall is not None and audit.recall >= 0.8


@NEEDS_FAISS
def test_a_factory_string_goes_through_model_and_recipe() -> None:
    kind = "faiss:IVF2,Flat"
    model = model_with(IndexConfig(kind=kind, exact_below=0))
    _, state = model(torch.randn(40, 2, 5).double(), trace=True)
    assert state.trace.searching[-1] == kind
    recipe = {
        "task": {"name": "copy"},
        "model": {"kind": "sam", "memory_size": 64},
        "index": {"kind": kind, "probes": 2},
    }
    assert build_model(resolve(recipe)).cell.memory.index == IndexConfig(kind=kind, probes=2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_memory_grows(kind: str) -> None:
    """With any index the same words are found before and after; new slots are taken first."""
    results = []
    for index in (IndexConfig(), IndexConfig(kind=kind, **THOROUGH)):
        model = model_with(index)
        inputs = torch.randn(60, 2, 5, generator=torch.Generator().manual_seed(4)).double()
        _, state = model(inputs[:40])
        assert state.memory.order.handed_out.tolist() == [[64], [64]]
        outputs, state = model(inputs[40:], state.resize(90))
        results.append(outputs)
        assert state.memory.order.handed_out.tolist() == [[90], [90]]
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)
