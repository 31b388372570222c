"""Habits of calling."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from benchmarks.manners.subject import IN, B, Habit, Subject, T, inputs, same


def _unbatched(subject: Subject) -> None:
    model = subject.make()
    outputs, state = model(inputs(T, IN))
    same(outputs, model(inputs(T, IN)[:, None])[0][:, 0])
    model(inputs(T, IN), state)


def _no_rows(subject: Subject) -> None:
    model = subject.make()
    outputs, state = model(inputs(T, 0, IN))
    outputs.sum().backward()
    assert model(inputs(T, 0, IN), state)[0].shape[:2] == (T, 0)


def _no_steps(subject: Subject) -> None:
    model = subject.make()
    outputs, state = model(inputs(0, B, IN))
    assert outputs.shape[:2] == (0, B)
    same(model(inputs(), state)[0], model(inputs())[0])


def _step_by_step(subject: Subject) -> None:
    model, state, found = subject.make(), None, []
    for step in inputs().split(1):
        outputs, state = model(step, state)
        found.append(outputs)
    same(torch.cat(found), model(inputs())[0])


def _hx(subject: Subject) -> None:
    model = subject.make()
    same(model(inputs(), hx=model(inputs())[1])[0], model(inputs(), model(inputs())[1])[0])


def _tensors(subject: Subject) -> None:
    zeros = torch.zeros(1, B, 8)
    for pair in ((zeros, zeros), [zeros, zeros]):
        same(subject.make()(inputs(), pair)[0], subject.make()(inputs())[0])


def _twice(subject: Subject) -> None:
    model = subject.make()
    _, state = model(inputs())
    same(model(inputs(), state)[0], model(inputs(), state)[0])


def _batch_first(subject: Subject) -> None:
    found, _ = subject.make(batch_first=True)(inputs().transpose(0, 1))
    same(found.transpose(0, 1), subject.make()(inputs())[0])


def _packed(subject: Subject) -> None:
    rows = [inputs()[:2, 0], inputs()[:, 1]]
    found, _ = subject.make()(pack_sequence(rows, enforce_sorted=False))
    padded, lengths = nn.utils.rnn.pad_packed_sequence(found)
    assert lengths.tolist() == [2, T]
    same(padded[:, 1], subject.make()(inputs())[0][:, 1])


def _starts(subject: Subject) -> None:
    starts = [[row == step == 1 for row in range(B)] for step in range(T)]
    found, _ = subject.make()(inputs(), starts=starts)
    same(found[1:, 1], subject.make()(inputs()[1:])[0][:, 1])


def _autocast(subject: Subject) -> None:
    model = subject.make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, _ = model(inputs().bfloat16())
        outputs.float().sum().backward()


def _other_dtype(subject: Subject) -> None:
    subject.make()(inputs().double())


def _nan(subject: Subject) -> None:
    assert subject.make()(inputs().log())[0].isnan().any()


HABITS = (
    Habit("`model(x)` with x `[T, I]`", _unbatched, "the state is that of a batch of one"),
    Habit("a batch of 0", _no_rows),
    Habit("a sequence of 0 steps", _no_steps),
    Habit("sequences of 1 step, the state passed on", _step_by_step),
    Habit("`batch_first=True`", _batch_first),
    Habit("a `PackedSequence`, not sorted", _packed),
    Habit("`starts=`: episodes that begin inside a row; a tensor, an array, lists", _starts),
    Habit("`hx=` for the state", _hx),
    Habit(
        "`(h, c)` or `[h, c]` for the state",
        _tensors,
        "a state has a memory: it comes from a call, or from `model.initial_state(B)`; "
        "what a call returns has names, not `(h, c)`",
    ),
    Habit("a state used twice", _twice, "a sparse memory is changed in place; `state.clone()`"),
    Habit("bf16 inputs under autocast, backward inside", _autocast),
    Habit("float64 inputs for float32 parameters", _other_dtype),
    Habit("NaN in, NaN out", _nan, "NaN would stay in the memory"),
)
