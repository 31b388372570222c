"""`state.record()` and `state.at(step)`: the states of a rollout, to replay it from its middle."""

from numbers import Integral
from typing import Any, TypeVar

from sam.errors import ConfigError
from sam.journal import Journal
from sam.state_rows import picked_rows

S = TypeVar("S")


def record(state: S) -> S:
    """Begins a journal: every step from here on is recorded, in whichever calls it is taken.

    It is in the field `journal` of all states that follow, also after `detach` and `clone`, and
    `at` looks into it. It grows with each step, so begin a new one with each rollout; to end it, go
    on with ``state._replace(journal=None)``.

    Args:
        state: a `CellState`; it stays good.

    Raises:
        ConfigError: it is not the state of a sparse memory (SAM, SDNC). No step changes those of
            the others: keep them in a list. Or it lies over a base.
        StaleStateError: the state was consumed.

    Cost: one copy of the words touched so far. Then each step takes bytes for the words that it
    writes and the small tensors of the state, whatever the memory size is; and a call takes single
    steps, not a whole sequence at once.
    """
    of: Any = state
    if getattr(getattr(of.memory, "order", None), "base", None) is not None:
        raise ConfigError(
            "record: expected a state without a base, which a journal does not cover; keep a "
            "clone(), which copies what its rows have read and written"
        )
    return of._replace(journal=Journal(state), trace=None)


def at(state: S, step: int, rows: Any = None) -> S:
    """The state as it was before a step of the journal.

    Args:
        state: of the journal; it stays good, and may have been consumed.
        step: counted from `record` on, 0 .. T; T is the state after all T steps. It is the state
            that the call with this step was given: what `starts` of the call says of the step is
            still to come.
        rows: of these batch rows only, as the method `rows` takes them; all by default.

    Returns:
        A state that has no journal, is detached, and shares nothing with this one. With an exact
        index, going on from it gives what going on from the original gave, to the last bit. An
        approximate index has the same words; what it learned from searches is that of the journal's
        beginning, so it may choose other words.

    Raises:
        ConfigError: there is no journal, or no such step in it.
        ShapeError: there are no such rows.
        StaleStateError: the step is T, and this state was consumed.

    Cost: the words that the rows had touched when the journal began, and O(step) times what a step
    writes.
    """
    of: Any = state
    journal: Journal | None = of.journal
    if journal is None:
        raise ConfigError("at: expected a state with a journal, as record() begins, got none")
    steps = len(journal)
    if isinstance(step, bool) or not isinstance(step, Integral) or not 0 <= step <= steps:
        raise ConfigError(f"step: expected 0 to T={steps}, got {step!r}")
    picked = None if rows is None else picked_rows(rows, state)
    if step == steps:
        last = of._replace(journal=None, trace=None).detach()
        return last.clone() if picked is None else last.rows(picked)
    memory, small = journal.parts_at(int(step), picked)
    parts = {"controller": small.controller, "memory": memory, "reads": small.reads}
    return of._replace(**parts, journal=None, trace=None)
