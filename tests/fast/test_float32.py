"""Single precision: the compiled form is as near to the float64 result as the plain one."""

import pytest
import torch

from tests.fast.compiled_and_plain import IN, build, draw, outcome

pytest.importorskip("numba")

CASES = {
    "fresh memory": {"memory_size": 2**16},
    "memory that fills": {},
    "standard sizes": {"hidden_size": 100, "word_size": 32, "num_heads": 4, "top_k": 4},
    "steps": {"controller": "other"},
    "shared write, softplus": {"shared_write": True, "strength": "softplus"},
}


def episode(dtype, *, batch=4):
    def scenario(model):
        inputs = draw(12, batch, IN, dtype=dtype).requires_grad_()
        outputs, state = model(inputs)
        return outputs, state, inputs

    return scenario


def errors(found, exact):
    """Largest errors of values, absolute, and of gradients, relative to the largest of each."""
    values, grads = [], []
    for name, tensor in exact.close.items():
        error = float((found.close[name].double() - tensor).abs().max())
        if name.startswith("gradient"):
            grads.append(error / float(tensor.abs().max()))
        else:
            values.append(error)
    return max(values), max(grads)


@pytest.mark.parametrize("case", CASES)
def test_float32_is_as_good_as_the_plain_form(case):
    options = CASES[case]
    exact = outcome(build(False, **options), episode(torch.float64))
    found = {}
    for form in (True, False):
        model = build(form, dtype=torch.float32, **options)
        found[form] = outcome(model, episode(torch.float32))
        assert found[form].close["outputs"].dtype == torch.float32
        for name, slots in exact.equal.items():
            assert torch.equal(found[form].equal[name], slots), "another word was chosen"
    assert found[True].paths and not found[False].paths
    compiled, plain = (errors(found[form], exact) for form in (True, False))
    assert compiled[0] <= 1e-6 and compiled[1] <= 1e-4
    for one, other in zip(compiled, plain, strict=True):
        assert one <= 2 * other + 1e-6


def test_float32_is_compiled_unasked_and_float64_is_not(monkeypatch):
    monkeypatch.delenv("SPARSE_SAM_COMPILED", raising=False)
    for dtype, used in ((torch.float32, True), (torch.float64, False)):
        found = outcome(build(None, dtype=dtype), episode(dtype))
        assert bool(found.paths) == used
