"""The byte counters on examples counted by hand."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.bytes.footprint import (
    bytes_per_step,
    grown_by,
    highest_level,
    peak_bytes,
    resident_growth,
    saved_bytes,
)


def test_saved_floats_counted_by_hand() -> None:
    x, weight = torch.ones(3, 5), torch.ones(5, 7, requires_grad=True)
    # The product keeps x [3, 5], tanh its result [3, 7]; the sum keeps nothing.
    forward = lambda: (x @ weight).tanh().sum()  # noqa: E731
    assert saved_bytes(forward, apart_from=[weight]) == 4 * (3 * 5 + 3 * 7)
    assert saved_bytes(forward, apart_from=[weight, x]) == 4 * 3 * 7


def test_a_storage_counts_once_and_whole() -> None:
    x = torch.ones(10, requires_grad=True)

    def forward() -> list[Tensor]:
        y = x.exp()  # keeps y, [10]
        return [y.exp(), y[:5] * y[5:], y.square()]  # exp keeps itself; the others y again

    assert saved_bytes(forward, apart_from=[x]) == 4 * (10 + 10)


def test_what_a_custom_function_saves_is_counted() -> None:
    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(torch.zeros(11, dtype=torch.int64))
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
            return grad * 2

    x = torch.ones(2, requires_grad=True)
    assert saved_bytes(lambda: Custom.apply(x), apart_from=[x]) == 8 * 11


def test_graphs_that_are_gone_do_not_count() -> None:
    x = torch.ones(10, requires_grad=True)

    def forward() -> Tensor:
        x.exp().sum()  # nobody holds it
        with torch.no_grad():
            x.exp()
        return (3 * x).exp().sum()

    assert saved_bytes(forward, apart_from=[x]) == 4 * 10


def test_bytes_per_step_of_an_unrolled_cell() -> None:
    cell = nn.RNNCell(3, 4)

    def saved(steps: int) -> int:
        def forward() -> Tensor:
            hidden = torch.zeros(2, 4)  # once, whatever the length
            for _ in range(steps):
                hidden = cell(torch.zeros(2, 3), hidden)
            return hidden.sum()

        return saved_bytes(forward, apart_from=cell.parameters())

    # A step keeps its input [2, 3] and its result [2, 4], which the next step keeps as well.
    assert bytes_per_step(saved, batch_size=2, steps=(3, 8)) == 4 * (3 + 4)
    with pytest.raises(ValueError, match="shorter length first"):
        bytes_per_step(saved, batch_size=2, steps=(8, 8))


def test_peak_counts_what_lives_at_one_time() -> None:
    before = torch.zeros(1000)

    def run() -> None:
        a = torch.zeros(50_000)
        b = torch.zeros(20_000)
        del a
        c = torch.zeros(40_000)  # beside b: less than a and b together
        del b, c
        before.add_(1)

    assert peak_bytes(run) == pytest.approx(4 * 70_000, rel=0.01)


def test_highest_level_knows_its_own_blocks() -> None:
    # 7 is given back without having been handed out here; 1 is handed out twice.
    blocks = [(7, -999), (1, 10), (2, 5), (1, -10), (1, 20), (2, -5)]
    assert highest_level(blocks) == 25
    assert highest_level([]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_growth_sees_a_large_tensor() -> None:
    growth = grown_by(lambda: torch.ones(16 * 2**20))  # 64 MiB, touched
    assert 60 * 2**20 < growth < 80 * 2**20


def test_a_failed_process_is_no_number() -> None:
    with pytest.raises(RuntimeError, match=r"benchmarks\.nothing: expected it to print"):
        resident_growth("benchmarks.nothing")
