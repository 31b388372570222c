"""Optimizers with one number of state for each row of a table, which update the touched rows.

A row is touched by a step if it is named in the sparse gradient, even with zeros; a dense gradient
touches all rows. A row that is not touched stays as it is, and so does its state: its moment does
not decay, and its count does not grow.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from index.compiled import is_compiled
from sam.errors import ConfigError, ShapeError


class _Rowwise(Optimizer):
    """What both optimizers share: the touched rows of each table, and their state."""

    _state_dtypes: ClassVar[dict[str, torch.dtype | None]] = {"moment": None}
    """Names of the state of a row, and their dtypes; None for that of the table, or float32."""

    def __init__(
        self, params: Iterable[Any], defaults: dict[str, Any], compiled: bool | None
    ) -> None:
        if not isinstance(defaults["lr"], Tensor):
            _check("lr", defaults["lr"], 0, float("inf"))
        _check("eps", defaults["eps"], 0, float("inf"))
        self._compiled = compiled
        self._touched: dict[Tensor, Tensor | None] = {}
        super().__init__(params, defaults)
        for table in self._tables():
            if table.dim() == 0 or table.is_complex():
                shape = f"{table.dtype} {[*table.shape]}"
                raise ShapeError(f"params: expected tables of real numbers [n, ...], got {shape}")
            is_compiled(compiled, table.device, table.dtype)  # raises its error at once

    def _tables(self) -> list[Tensor]:
        return [table for group in self.param_groups for table in group["params"]]

    def touched_rows(self, table: Tensor) -> Tensor:
        """The rows of a table that the last step touched, each once, int64 [m].

        An index over the rows is brought up to date with these: ``index.update(rows[None],
        table[rows][None])``.
        """
        if table not in self._touched:
            return torch.zeros(0, dtype=torch.int64, device=table.device)
        rows = self._touched[table]
        return torch.arange(len(table), device=table.device) if rows is None else rows

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the rows that the gradients touch.

        Args:
            closure: computes the loss anew.

        Returns:
            The loss, with a closure.

        Cost: O(m W) for m touched rows, whatever n is; a sparse gradient that names rows
        repeatedly is summed first.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._touched = {}
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    rows, gradients = _rows_of(table.grad, len(table))
                    self._touched[table] = rows
                    if rows is None:
                        rows = torch.arange(len(table), device=table.device)
                    self._update(table, rows, gradients, self._state_of(table), group)
        return loss

    def _state_of(self, table: Tensor) -> dict[str, Tensor]:
        state = self.state[table]
        wide = table.dtype if table.dtype == torch.float64 else torch.float32
        for name, dtype in self._state_dtypes.items():
            if name not in state:
                state[name] = torch.zeros(len(table), dtype=dtype or wide, device=table.device)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of any optimizer; the state keeps its dtypes.

        Raises:
            ShapeError: the state is of tables with other numbers of rows.
        """
        super().load_state_dict(state_dict)
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        for number, table in zip(numbers, self._tables(), strict=True):
            given = state_dict["state"].get(number, {})
            for name, part in given.items():
                if isinstance(part, Tensor):
                    if part.shape != (len(table),):
                        raise ShapeError(
                            f"{name}: expected one number for each of {len(table)} rows, got "
                            f"{[*part.shape]}"
                        )
                    self.state[table][name] = part.to(table.device, copy=True)

    def _is_compiled(self, table: Tensor) -> bool:
        whole = table.is_contiguous() and table.dim() == 2
        return whole and is_compiled(self._compiled, table.device, table.dtype)

    def _update(
        self,
        table: Tensor,
        rows: Tensor,
        gradients: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        """Updates rows, each named once, of a table with gradients [m, ...]."""
        raise NotImplementedError


class RowwiseAdam(_Rowwise):
    """Adam without a first moment and with one second moment a row.

        t_r <- t_r + 1,   v_r <- beta v_r + (1 - beta) |g_r|^2 / W
        x_r <- x_r - lr g_r / (sqrt(v_r / (1 - beta^t_r)) + eps)

    for every touched row r, whose gradient g_r has W numbers. The bias is corrected by t_r, how
    often the row was touched. With rows of one number, all of them touched in every step, this is
    `torch.optim.Adam` with betas (0, beta), number for number; with longer rows it is that with
    the mean of the squares of a row in place of each of them.

    Args:
        params: tables [n, ...], or groups of them. Gradients may be sparse or dense.
        lr: the rate.
        beta: how much of the moment a touch keeps.
        eps: added to the root.
        compiled: whether the compiled loop is used, see `index.compiled.is_compiled`.

    Raises:
        ConfigError: a number is out of its range.
        ShapeError: a parameter is no table of real numbers.

    Cost: state of 8 bytes a row, 6 % of a table of 32 numbers in float32.
    """

    _state_dtypes: ClassVar = {"moment": None, "step": torch.int32}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        *,
        beta: float = 0.999,
        eps: float = 1e-8,
        compiled: bool | None = None,
    ) -> None:
        if not 0 <= beta < 1:
            raise ConfigError(f"beta: expected a number in [0, 1), got {beta!r}")
        super().__init__(params, {"lr": lr, "beta": beta, "eps": eps}, compiled)

    def _update(
        self,
        table: Tensor,
        rows: Tensor,
        gradients: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        lr, beta, eps = float(group["lr"]), group["beta"], group["eps"]
        moments, steps = state["moment"], state["step"]
        if self._is_compiled(table):
            from sam.fast.loops.rowwise import adam_rows

            adam_rows(*_arrays(table, rows, gradients, moments), steps.numpy(), lr, beta, eps)
            return
        count = steps.index_select(0, rows) + 1
        moment = beta * moments.index_select(0, rows) + (1 - beta) * _mean_square(gradients)
        steps.index_copy_(0, rows, count)
        moments.index_copy_(0, rows, moment)
        corrected = moment / (1 - beta ** count.double()).to(moment.dtype)
        _descend(table, rows, gradients, lr / (corrected.sqrt() + eps))


class RowwiseAdagrad(_Rowwise):
    """Adagrad with one sum a row.

        G_r <- G_r + |g_r|^2 / W,   x_r <- x_r - lr g_r / (sqrt(G_r) + eps)

    for every touched row r, whose gradient g_r has W numbers. With rows of one number it is
    `torch.optim.Adagrad`.

    Args:
        params: tables [n, ...], or groups of them. Gradients may be sparse or dense.
        lr: the rate.
        eps: added to the root.
        compiled: whether the compiled loop is used, see `index.compiled.is_compiled`.

    Raises:
        ConfigError: a number is out of its range.
        ShapeError: a parameter is no table of real numbers.

    Cost: state of 4 bytes a row, 3 % of a table of 32 numbers in float32.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        *,
        eps: float = 1e-10,
        compiled: bool | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "eps": eps}, compiled)

    def _update(
        self,
        table: Tensor,
        rows: Tensor,
        gradients: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        lr, eps, moments = float(group["lr"]), group["eps"], state["moment"]
        if self._is_compiled(table):
            from sam.fast.loops.rowwise import adagrad_rows

            adagrad_rows(*_arrays(table, rows, gradients, moments), lr, eps)
            return
        moment = moments.index_select(0, rows) + _mean_square(gradients)
        moments.index_copy_(0, rows, moment)
        _descend(table, rows, gradients, lr / (moment.sqrt() + eps))


def _rows_of(gradient: Tensor, count: int) -> tuple[Tensor | None, Tensor]:
    """Touched rows, each once, int64 [m], and their gradients [m, ...]; None for all rows."""
    if gradient.layout is torch.strided:
        return None, gradient.contiguous()
    if gradient.layout is not torch.sparse_coo or gradient.sparse_dim() != 1:
        what = f"{gradient.layout} with {gradient.sparse_dim()} sparse dimensions"
        raise ShapeError(f"grad: expected a dense gradient or one sparse in its rows, got {what}")
    whole = gradient.coalesce()
    rows = whole.indices()[0]
    if rows.numel() and rows.device.type == "cpu":  # compiled loops do not look
        low, high = (int(bound) for bound in rows.aminmax())
        if low < 0 or high >= count:
            wrong = low if low < 0 else high
            raise ShapeError(f"grad: expected rows 0 .. {count - 1}, got {wrong}")
    return rows, whole.values().contiguous()


def _arrays(
    table: Tensor, rows: Tensor, gradients: Tensor, moments: Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The tensors as arrays, which share their memory."""
    given = table.detach(), rows, gradients.detach(), moments
    first, second, third, fourth = (part.numpy() for part in given)
    return first, second, third, fourth


def _mean_square(gradients: Tensor) -> Tensor:
    """|g|^2 / W of each row, in float32 or wider, [m]."""
    wide = gradients if gradients.dtype == torch.float64 else gradients.float()
    width = math.prod(gradients.shape[1:])
    return wide.reshape(len(gradients), width).square().sum(1) / max(1, width)


def _descend(table: Tensor, rows: Tensor, gradients: Tensor, rates: Tensor) -> None:
    """x_r <- x_r - rate_r g_r."""
    rates = rates.view(-1, *[1] * (gradients.dim() - 1))
    table.index_add_(0, rows, (rates * gradients).to(table.dtype), alpha=-1)


def _check(name: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < most:
        raise ConfigError(f"{name}: expected a number of at least {least}, got {value!r}")
