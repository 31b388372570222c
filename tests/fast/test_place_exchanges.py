"""A sequence over a base with codes: three compiled calls a step find what all parts find."""

from typing import Any

import pytest
import torch

from index import BaseMemory, make_index
from index.base.whole_exchange import WholeExchange
from sam import SAM, SDNC
from sam.fast.place_exchanges import PlaceExchanges
from tests.index.oracle import FORMS

pytestmark = pytest.mark.skipif(len(FORMS) < 2, reason="needs numba")
N, W, B, INPUTS = 2000, 8, 3, 4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseMemory:
    words = torch.randn(N, W, generator=torch.Generator().manual_seed(2))
    path = tmp_path_factory.mktemp("bases") / "base"
    return BaseMemory.create(path, words, index="ivf", dtype="float16", recall=1.0)


def built(kind: str, own: int) -> Any:
    torch.manual_seed(0)
    sizes: Any = {"memory_size": N + own, "word_size": W, "hidden_size": 12, "top_k": 3}
    if kind == "sam":
        return SAM(INPUTS, 2, num_heads=2, **sizes)
    return SDNC(INPUTS, 2, num_reads=2, **sizes)


def outcome(kind: str, own: int, base: BaseMemory, steps: int) -> list[torch.Tensor]:
    """Outputs of two calls, what was written, and gradients; one row begins anew in between."""
    model = built(kind, own)
    random = torch.Generator().manual_seed(1)
    inputs = torch.randn(2, steps, B, INPUTS, generator=random)
    starts = torch.zeros(steps, B, dtype=torch.bool)
    starts[steps // 2, 1] = True
    first, state = model(inputs[0], model.initial_state(B, base=base))
    second, state = model(inputs[1], state, starts=starts)
    (first.square().mean() + second.square().mean()).backward()
    grads = [parameter.grad for parameter in model.parameters()]
    diff = state.diff()
    return [first.detach(), second.detach(), diff.slots, diff.words.detach(), *grads]


@pytest.mark.parametrize("kind", ["sam", "sdnc"])
# Rows have own slots left throughout, or until the middle of the first call.
@pytest.mark.parametrize("own", [1000, 20])
def test_results_are_the_same(base, monkeypatch, kind: str, own: int) -> None:
    made: list[bool] = []
    exchange = PlaceExchanges.exchange

    def counted(self: Any, *given: Any) -> bool:
        made.append(exchange(self, *given))
        return made[-1]

    monkeypatch.setattr(PlaceExchanges, "exchange", counted)
    found = outcome(kind, own, base, 30)
    # Tables that double, and rows that begin anew or have no own slot left, take the other way.
    assert sum(made) > (30 if own == 1000 else 3) and all(made)
    monkeypatch.setattr(PlaceExchanges, "of", lambda *_: None)
    for mine, expected in zip(found, outcome(kind, own, base, 30), strict=True):
        assert torch.equal(mine, expected)
    monkeypatch.setattr(WholeExchange, "begin", lambda *_: False)
    for mine, expected in zip(found, outcome(kind, own, base, 30), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-6)


def test_cold_words_are_asked_for_and_lost_neighbors_looked_for(base, monkeypatch) -> None:
    expected = outcome("sam", 500, base, 10)
    cold = BaseMemory.open(base.path)
    for mine, other in zip(outcome("sam", 500, cold, 10), expected, strict=True):
        assert torch.equal(mine, other)
    # An exchange that other forms have to end.
    whole = WholeExchange.exchange_arrays
    turns: list[int] = []

    def broken(self: Any, *given: Any) -> bool:
        turns.append(len(turns))
        return whole(self, *given) and len(turns) % 3 > 0

    monkeypatch.setattr(WholeExchange, "exchange_arrays", broken)
    for mine, other in zip(outcome("sam", 500, base, 10), expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    assert len(turns) > 20


def test_an_index_without_codes_has_no_such_call(tmp_path) -> None:
    words = torch.randn(50, W, generator=torch.Generator().manual_seed(3))
    base = BaseMemory.create(tmp_path / "base", words, index="exact")
    index: Any = make_index("exact", batch_size=B, capacity=99, word_size=W, base=base)
    assert not index._whole.begin(index, 2, 2, 3)
