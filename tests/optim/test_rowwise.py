"""Row-wise optimizers against their definition in NumPy loops, and against those of torch."""

import copy
import importlib.util
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sam.errors import ConfigError, ShapeError
from sam.optim import RowwiseAdagrad, RowwiseAdam
from sam.optim.rowwise import _rows_of

FORMS = [False, True] if importlib.util.find_spec("numba") else [False]
KINDS = [RowwiseAdam, RowwiseAdagrad]
BETA, EPS, LR = 0.9, 1e-3, 0.05


def make(kind, params, *, compiled: bool | None = None):
    if kind is RowwiseAdam:
        return RowwiseAdam(params, LR, beta=BETA, eps=EPS, compiled=compiled)
    return RowwiseAdagrad(params, LR, eps=EPS, compiled=compiled)


def update(kind, table: np.ndarray, state: list[dict], gradients: dict[int, np.ndarray]) -> None:
    """One step by the definition, in place; `state` has a dict for each row."""
    for row, gradient in gradients.items():
        own, square = state[row], float((gradient**2).sum() / gradient.size)
        own["t"] = own.get("t", 0) + 1
        if kind is RowwiseAdam:
            own["v"] = BETA * own.get("v", 0.0) + (1 - BETA) * square
            size = math.sqrt(own["v"] / (1 - BETA ** own["t"]))
        else:
            own["v"] = own.get("v", 0.0) + square
            size = math.sqrt(own["v"])
        table[row] -= LR * gradient / (size + EPS)


def sparse(rows: Tensor, values: Tensor, count: int) -> Tensor:
    shape = count, *values.shape[1:]
    return torch.sparse_coo_tensor(rows[None], values, shape, check_invariants=True)


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("shape", [(7, 5), (7, 1), (7,), (7, 2, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_follow_the_definition(kind, shape, compiled: bool) -> None:
    """Sparse gradients that name rows once or repeatedly, and dense ones, in float64."""
    start = torch.randn(shape, dtype=torch.float64)
    table = nn.Parameter(start.clone())
    optimizer = make(kind, [table], compiled=compiled)
    expected, state = start.numpy().copy(), [{} for _ in range(7)]
    for step in range(12):
        if step % 4 == 3:
            table.grad = torch.randn(shape, dtype=torch.float64)
            gradients = dict(enumerate(table.grad.numpy().copy()))
        else:
            rows = torch.randint(0, 6, (step % 3 + 1,))  # row 6 only by dense ones
            values = torch.randn(len(rows), *shape[1:], dtype=torch.float64)
            table.grad = sparse(rows, values, 7)
            gradients = {}
            for row, value in zip(rows.tolist(), values.numpy(), strict=True):
                gradients[row] = gradients.get(row, 0) + value
        update(kind, expected, state, gradients)
        optimizer.step()
        np.testing.assert_allclose(table.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
        assert optimizer.touched_rows(table).tolist() == sorted(gradients)
    for row, own in enumerate(state):
        assert optimizer.state[table]["moment"][row].item() == pytest.approx(own["v"], rel=1e-12)


@pytest.mark.parametrize("compiled", FORMS)
def test_rows_of_one_number_that_are_all_touched_are_those_of_torch(compiled: bool) -> None:
    start = torch.randn(9, 1, dtype=torch.float64)
    pairs = [
        (make(RowwiseAdam, [t := nn.Parameter(start.clone())], compiled=compiled), t,
         torch.optim.Adam([u := nn.Parameter(start.clone())], LR, betas=(0.0, BETA), eps=EPS), u),
        (make(RowwiseAdagrad, [v := nn.Parameter(start.clone())], compiled=compiled), v,
         torch.optim.Adagrad([w := nn.Parameter(start.clone())], LR, eps=EPS), w),
    ]  # fmt: skip
    for mine, table, theirs, other in pairs:
        for _ in range(10):
            values = torch.randn(9, 1, dtype=torch.float64)
            table.grad, other.grad = sparse(torch.arange(9), values, 9), values
            mine.step()
            theirs.step()
            torch.testing.assert_close(table, other, rtol=1e-12, atol=1e-12)


def test_rows_are_adams_of_their_own() -> None:
    """A row that is touched now and then is what Adam makes of it alone, where signs are equal.

    With gradients whose numbers all have one size, the mean of the squares is each of them.
    """
    start = torch.randn(4, 3, dtype=torch.float64)
    table = nn.Parameter(start.clone())
    alone = [nn.Parameter(row.clone()) for row in start]
    adams = [torch.optim.Adam([row], LR, betas=(0.0, BETA), eps=EPS) for row in alone]
    mine = make(RowwiseAdam, [table])
    for step in range(20):
        rows = torch.tensor([step % 4, (step + 1) % 3]).unique()
        values = torch.randn(len(rows), 1, dtype=torch.float64).expand(-1, 3).contiguous()
        table.grad = sparse(rows, values, 4)
        mine.step()
        for row, value in zip(rows.tolist(), values, strict=True):
            alone[row].grad = value.clone()
            adams[row].step()
    torch.testing.assert_close(table, torch.stack([*alone]), rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(len(FORMS) < 2, reason="needs numba")
@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_agree_in_float32(kind) -> None:
    start = torch.randn(50, 8)
    tables = [nn.Parameter(start.clone()) for _ in FORMS]
    both = [make(kind, [t], compiled=form) for t, form in zip(tables, FORMS, strict=True)]
    for _ in range(10):
        rows, values = torch.randint(0, 50, (20,)), torch.randn(20, 8)
        for table, optimizer in zip(tables, both, strict=True):
            table.grad = sparse(rows, values, 50)
            optimizer.step()
    torch.testing.assert_close(*tables)


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_state_goes_on(kind, compiled: bool) -> None:
    tables = [nn.Parameter(torch.randn(6, 3)), nn.Parameter(torch.randn(4, 2).half())]
    first = make(kind, tables, compiled=compiled if compiled is False else None)

    def step(optimizer, given) -> None:
        random = torch.Generator().manual_seed(len(optimizer.state))
        for table in given:
            values = torch.randn(table.shape, generator=random).to(table.dtype)
            table.grad = sparse(torch.arange(len(table)), values, len(table))
        optimizer.step()

    for _ in range(3):
        step(first, tables)
    others = copy.deepcopy(tables)
    second = make(kind, others)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for table, other in zip(tables, others, strict=True):
        for name, part in first.state[table].items():
            assert second.state[other][name].dtype == part.dtype
            assert second.state[other][name] is not part
    for _ in range(3):
        step(first, tables)
        step(second, others)
    for table, other in zip(tables, others, strict=True):
        torch.testing.assert_close(table, other, rtol=0, atol=1e-6)
    third = make(kind, [nn.Parameter(torch.randn(7, 3)), others[1]])
    with pytest.raises(ShapeError, match="expected one number for each of 7 rows, got"):
        third.load_state_dict(first.state_dict())


def test_state_is_a_few_bytes_a_row() -> None:
    table = nn.Parameter(torch.randn(1000, 32))
    table.grad = sparse(torch.tensor([3]), torch.ones(1, 32), 1000)
    for kind, most in ((RowwiseAdam, 0.0626), (RowwiseAdagrad, 0.0313)):
        optimizer = make(kind, [table])
        optimizer.step()
        held = sum(part.nbytes for part in optimizer.state[table].values())
        assert held <= most * table.nbytes


def test_an_embedding_learns_and_other_rows_stay() -> None:
    table = nn.Embedding(100, 4, sparse=True)
    before = table.weight.detach().clone()
    optimizer = RowwiseAdam([{"params": table.parameters(), "lr": 0.1}], lr=0.0)
    slots, target = torch.tensor([[3, 50, 3]]), torch.ones(4)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (table(slots) - target).square().mean()
        loss.backward()
        return loss

    first = closure().item()
    for _ in range(100):
        last = optimizer.step(closure).item()
    assert last < first / 10
    changed = (table.weight != before).any(1).nonzero().flatten()
    assert changed.tolist() == optimizer.touched_rows(table.weight).tolist() == [3, 50]


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_tables(kind) -> None:
    """A transposed view of others, and no touched row at all."""
    table = nn.Parameter(torch.randn(3, 6).t())
    twin = nn.Parameter(table.detach().contiguous().clone())
    both = make(kind, [table]), make(kind, [twin])
    for rows in (torch.tensor([1, 5]), torch.zeros(0, dtype=torch.int64)):
        values = torch.randn(len(rows), 3)
        for one, optimizer in zip((table, twin), both, strict=True):
            one.grad = sparse(rows, values, 6)
            optimizer.step()
            assert optimizer.touched_rows(one).tolist() == rows.tolist()
    torch.testing.assert_close(table.contiguous(), twin)
    table.grad = None
    both[0].step()
    assert both[0].touched_rows(table).numel() == 0


def test_wrong_arguments() -> None:
    table = nn.Parameter(torch.randn(3, 2))
    for options, text in (
        ({"lr": -1.0}, "lr: expected a number of at least 0, got -1.0"),
        ({"beta": 1.0}, r"beta: expected a number in \[0, 1\), got 1.0"),
        ({"eps": -1e-8}, "eps: expected a number of at least 0"),
    ):
        with pytest.raises(ConfigError, match=text):
            RowwiseAdam([table], **options)
    with pytest.raises(ShapeError, match=r"params: expected tables of real numbers \[n, ...\]"):
        RowwiseAdam([nn.Parameter(torch.tensor(1.0))])
    if len(FORMS) > 1:
        with pytest.raises(ValueError, match="compiled: expected float32 or float64"):
            RowwiseAdam([nn.Parameter(torch.randn(3, 2).half())], compiled=True)
    optimizer = RowwiseAdam([table])
    table.grad = torch.sparse_coo_tensor([[0], [1]], [1.0], (3, 2), check_invariants=True)
    with pytest.raises(ShapeError, match="grad: expected a dense gradient or one sparse in its"):
        optimizer.step()
    wrong = torch.sparse_coo_tensor([[5]], torch.ones(1, 2), (6, 2), check_invariants=True)
    with pytest.raises(ShapeError, match=r"grad: expected rows 0 \.\. 2, got 5"):
        _rows_of(wrong, 3)
