"""The gradient of a memory that is written in place: buffer, tape and autograd operations on it.

`sam.ops.store.WordStore` is the public face. The words lie in a buffer outside the autograd graph;
the operations are linked by a *token*, an empty scalar that each takes and returns, so that
autograd visits them in exactly the reverse order of the forward pass, with G = dL/dM at hand.
"""

from typing import Any

import torch
from torch import Tensor

from sam.errors import StaleStateError


class Buffer:
    """What all handles on one memory share: rows [1 + C, B, W] and a count of the operations.

    Slot-major, so that the flat row of a slot, (1 + slot) B + b, does not change as C grows.
    """

    __slots__ = ("rows", "version")

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.version = 0

    @property
    def batch_size(self) -> int:
        return self.rows.shape[1]

    def flat(self) -> Tensor:
        """The rows as [(1 + C) B, W]; good until the store grows."""
        return self.rows.view(-1, self.rows.shape[-1])

    def clear_pads(self, flat: Tensor) -> None:
        """Zeroes the rows of slot -1 of a tensor laid out like `flat`."""
        flat.narrow(0, 0, self.batch_size).zero_()


class Tape:
    """G, the gradient with respect to the memory, of one differentiable stretch of operations."""

    __slots__ = ("buffer", "grad", "opened")

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.grad: Tensor | None = None
        self.opened = False

    def flat(self) -> Tensor:
        """G as [(1 + C) B, W], allocated when the backward pass begins."""
        if self.grad is None:
            self.grad = torch.zeros_like(self.buffer.rows)
        return self.grad.view(-1, self.grad.shape[-1])

    def add(self, rows: Tensor, grad_words: Tensor) -> None:
        """Backward of a read: G[rows] += grad_words; the pads stay zero."""
        self.flat().index_add_(0, rows, grad_words)
        self.buffer.clear_pads(self.flat())

    def take(self, rows: Tensor, erased: Tensor | None) -> Tensor:
        """Backward of a write: G[rows], then G[erased] = 0."""
        flat = self.flat()
        grad = flat.index_select(0, rows)
        if erased is not None:
            flat.index_fill_(0, erased, 0.0)
        return grad


def open_node(ctx: Any, tape: Tape, *saved: Tensor | None) -> None:
    """Forward side of every operation: what its backward pass needs."""
    ctx.tape, ctx.done, ctx.first = tape, False, not tape.opened
    tape.opened = True
    ctx.save_for_backward(*saved)
    ctx.set_materialize_grads(False)


def claim(ctx: Any) -> None:
    """Refuses a second backward pass: G would be visited twice."""
    if ctx.done:
        raise StaleStateError(
            "WordStore: expected one backward pass through a sequence, got a second one; "
            "sum the losses and call backward once"
        )
    ctx.done = True


def close_node(ctx: Any) -> None:
    """Frees G once the first operation of the stretch has been visited."""
    if ctx.first:
        ctx.tape.grad = None


class Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, tape: Tape, rows: Tensor) -> tuple[Tensor, Tensor]:
        open_node(ctx, tape, rows)
        return tape.buffer.flat().index_select(0, rows), token.new_empty(())

    @staticmethod
    def backward(ctx: Any, grad_words: Tensor | None, grad_token: Tensor | None) -> Any:  # type: ignore[override]
        claim(ctx)
        if grad_words is not None:
            (rows,) = ctx.saved_tensors
            ctx.tape.add(rows, grad_words)
        close_node(ctx)
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
        open_node(ctx, tape, erased, rows, values, words)
        write_rows(tape.buffer, erased, rows, values, words)
        tape.buffer.clear_pads(tape.buffer.flat())
        return token.new_empty(())

    @staticmethod
    def backward(ctx: Any, grad_token: Tensor | None) -> Any:  # type: ignore[override]
        claim(ctx)
        erased, rows, values, words = ctx.saved_tensors
        grad = ctx.tape.take(rows, erased).view(*values.shape, words.shape[-1])
        close_node(ctx)
        grad_values = torch.matmul(grad, words[..., None])[..., 0]
        grad_words = torch.matmul(values[..., None, :], grad)[..., 0, :]
        return grad_token, None, None, None, grad_values, grad_words


class Reset(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, tape: Tape, mask: Tensor) -> Tensor:
        open_node(ctx, tape, mask)
        tape.buffer.rows.masked_fill_(mask[:, None], 0.0)
        return token.new_empty(())

    @staticmethod
    def backward(ctx: Any, grad_token: Tensor | None) -> Any:  # type: ignore[override]
        claim(ctx)
        ctx.tape.flat()
        ctx.tape.grad.masked_fill_(ctx.saved_tensors[0][:, None], 0.0)
        close_node(ctx)
        return grad_token, None, None


class Fork(torch.autograd.Function):
    """One past, two futures: on the way back the copy's G is added to the original's."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, tape: Tape, copy: Tape) -> tuple[Tensor, Tensor]:
        open_node(ctx, tape)
        ctx.copy, copy.opened = copy, True
        return token.new_empty(()), token.new_empty(())

    @staticmethod
    def backward(ctx: Any, grad_token: Tensor | None, grad_copy: Tensor | None) -> Any:  # type: ignore[override]
        claim(ctx)
        tape, copy = ctx.tape, ctx.copy
        if copy.grad is not None:
            tape.flat()
            # The copy may have grown further; what it touched beyond did not exist at the fork.
            shared = min(len(tape.grad), len(copy.grad))
            tape.grad[:shared] += copy.grad[:shared]
            copy.grad = None
        close_node(ctx)
        return grad_token, None, None


def write_rows(
    buffer: Buffer, erased: Tensor | None, rows: Tensor, values: Tensor, words: Tensor
) -> None:
    """Erases rows, then adds values (outer) words at rows, pads included."""
    flat = buffer.flat()
    if erased is not None:
        flat.index_fill_(0, erased, 0.0)
    scaled = values.unsqueeze(-1) * words.unsqueeze(-2)
    flat.index_add_(0, rows, scaled.view(-1, words.shape[-1]))
