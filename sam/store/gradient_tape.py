"""The gradient of a memory that is written in place: tape and autograd operations on it.

`WordStore` is the public face. The words lie in a buffer outside the autograd graph;
the operations are linked by a *token*, an empty scalar that each takes and returns, so that
autograd visits them in exactly the reverse order of the forward pass, with G = dL/dM at hand.
"""

from typing import Any

import torch
from torch import Tensor

from sam.errors import StaleStateError
from sam.once_differentiable import once_differentiable
from sam.private_torch import backward_pass
from sam.store.buffer import Buffer
from sam.store.touched_rows import Layout, TouchedRows


class Tape:
    """G, the gradient with respect to the memory, of one differentiable stretch of operations.

    Args:
        buffer: the memory.
        touched: of the memory that this one is a clone of.
    """

    __slots__ = ("_layout", "_pass", "buffer", "deferred_grads", "grad", "opened", "touched")

    def __init__(self, buffer: Buffer, touched: TouchedRows | None = None) -> None:
        self.buffer = buffer
        self.touched = TouchedRows() if touched is None else touched
        self.grad: Tensor | None = None  # G [size, W], while a backward pass is under way
        self.opened = False
        self.deferred_grads: Any = None  # of `sam.fast.deferred_grads`
        self._layout: Layout | None = None
        self._pass = -1

    def enter(self) -> None:
        """Drops the G of another backward pass, one that ended before the first operation."""
        now = backward_pass()
        if now != self._pass:
            self.grad, self._pass = None, now

    def begin(self) -> tuple[Tensor, Layout]:
        """G and its layout, allocated when the backward pass begins."""
        grad, layout = self.grad, self._layout
        if grad is None or layout is None or layout is not self.touched.layout:
            layout = self.touched.layout or self.touched.lay_out(self.buffer)
            flat = self.buffer.flat()
            # A clone shares the layout, but may have grown more or less than it was made for.
            size = len(flat) if layout.rows is None else layout.size
            grad = torch.zeros(size, flat.shape[1], device=flat.device, dtype=flat.dtype)
            self.grad, self._layout = grad, layout
        return grad, layout

    def add(self, rows: Tensor, grad_words: Tensor) -> None:
        """Backward of a read: G[rows] += grad_words, for rows that `places` gave."""
        self.begin()[0].index_add_(0, rows, grad_words)

    def pop_grad(self, rows: Tensor, erased: Tensor | None) -> Tensor:
        """Backward of a write: G[rows], then G[erased] = 0."""
        flat = self.begin()[0]
        grad = flat.index_select(0, rows)
        if erased is not None:
            flat.index_fill_(0, erased, 0.0)
        return grad

    def clear_pads(self) -> None:
        """G of slot -1 is zero."""
        grad, layout = self.begin()
        grad.narrow(0, 0, layout.pads).zero_()

    def clear_batch(self, mask: Tensor) -> None:
        """G of the batch rows in `mask`, bool [B], is zero."""
        grad, layout = self.begin()
        if len(mask) == 0:
            return
        if layout.rows is None:
            grad.view(-1, len(mask), grad.shape[1]).masked_fill_(mask[:, None], 0.0)
        else:
            grad.masked_fill_(mask[layout.rows.remainder(len(mask))][:, None], 0.0)

    def merge(self, copy: "Tape") -> None:
        """Adds the G of a clone at the moment of its making, and frees it."""
        copy.enter()
        if copy.grad is not None:
            grad = self.begin()[0]
            # The clone may have grown further; what it touched beyond did not exist at the fork.
            shared = min(len(grad), len(copy.grad))
            grad[:shared] += copy.grad[:shared]
            copy.grad = None


def record_node(ctx: Any, tape: Tape, rows: tuple[Tensor, ...], *saved: Tensor | None) -> None:
    """Forward side of every operation: the rows it touches and what its backward pass needs."""
    ctx.tape, ctx.done, ctx.first = tape, False, not tape.opened
    tape.opened = True
    ctx.starts = tape.touched.record(rows)
    ctx.save_for_backward(*rows, *saved)
    ctx.set_materialize_grads(False)


def grad_rows(ctx: Any, which: int, rows: Tensor) -> Tensor:
    """Rows in G of the rows that an operation touched.

    Args:
        ctx: of the operation.
        which: place in the `rows` that `record_node` was given.
        rows: what stood there.
    """
    found = ctx.tape.begin()[1].places
    return rows if found is None else found.narrow(0, ctx.starts[which], rows.shape[0])


def enter_backward(ctx: Any) -> None:
    """Backward side of every operation, first of all: refuses to visit it twice."""
    if ctx.done:
        raise StaleStateError(
            "WordStore: expected one backward pass through a sequence, got a second one; "
            "sum the losses and call backward once"
        )
    ctx.done = True
    ctx.tape.enter()


def finish_node(ctx: Any) -> None:
    """Frees G once the first operation of the stretch has been visited."""
    if ctx.first:
        ctx.tape.grad = None
        ctx.tape.touched.forget()


class Read(torch.autograd.Function):
    """Gathers words: G[rows] += grad_words."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, tape: Tape, rows: Tensor) -> tuple[Tensor, Tensor]:
        record_node(ctx, tape, (rows,))
        return tape.buffer.rows.flatten(0, 1).index_select(0, rows), token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_words: Tensor | None, grad_token: Tensor | None) -> Any:  # type: ignore[override]
        enter_backward(ctx)
        if grad_words is not None:
            (rows,) = ctx.saved_tensors
            ctx.tape.add(grad_rows(ctx, 0, rows), grad_words)
            ctx.tape.clear_pads()
        finish_node(ctx)
        return grad_token, None, None


class Write(torch.autograd.Function):
    """Erases, then adds x_j = v_j a to row j: dv_j = a.G_j and da = sum_j v_j G_j."""

    @staticmethod
    def forward(
        ctx: Any,
        token: Tensor,
        tape: Tape,
        erased: Tensor | None,
        rows: Tensor,
        values: Tensor,
        words: Tensor,
    ) -> Tensor:
        touched = (rows,) if erased is None else (rows, erased)
        record_node(ctx, tape, touched, values, words)
        tape.buffer.erase_add(erased, rows, values, words)
        return token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_token: Tensor | None) -> Any:  # type: ignore[override]
        enter_backward(ctx)
        rows, *erased, values, words = ctx.saved_tensors
        at = grad_rows(ctx, 1, erased[0]) if erased else None
        grad = ctx.tape.pop_grad(grad_rows(ctx, 0, rows), at).view(*values.shape, words.shape[-1])
        finish_node(ctx)
        grad_values = torch.matmul(grad, words[..., None])[..., 0]
        grad_words = torch.matmul(values[..., None, :], grad)[..., 0, :]
        return grad_token, None, None, None, grad_values, grad_words


class Reset(torch.autograd.Function):
    """Zeroes the memories of some batch rows, and their G."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, tape: Tape, mask: Tensor) -> Tensor:
        record_node(ctx, tape, (), mask)
        tape.buffer.rows.masked_fill_(mask[:, None], 0.0)
        return token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_token: Tensor | None) -> Any:  # type: ignore[override]
        enter_backward(ctx)
        ctx.tape.clear_batch(ctx.saved_tensors[0])
        finish_node(ctx)
        return grad_token, None, None


class Fork(torch.autograd.Function):
    """One past, two futures: in the backward pass the copy's G is added to the original's."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, tape: Tape, copy: Tape) -> tuple[Tensor, Tensor]:
        record_node(ctx, tape, ())
        ctx.copy, copy.opened = copy, True
        return token.new_empty(()), token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_token: Tensor | None, grad_copy: Tensor | None) -> Any:  # type: ignore[override]
        enter_backward(ctx)
        ctx.tape.merge(ctx.copy)
        finish_node(ctx)
        return grad_token, None, None
