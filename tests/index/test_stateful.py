"""Random sequences of calls against dictionaries, for every registered index."""

from collections.abc import Collection

import pytest
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.index.oracle import CASES, DictIndex, pair

BATCH, CAPACITY, WIDTH = 2, 40, 3
slot_rows = st.integers(0, 6).flatmap(
    lambda m: st.lists(
        st.lists(st.integers(-1, CAPACITY - 1), min_size=m, max_size=m),
        min_size=BATCH,
        max_size=BATCH,
    )
)


def slot_tensor(rows: list[list[int]]) -> torch.Tensor:
    """int64 [B, M], also for M = 0."""
    return torch.tensor(rows, dtype=torch.int64).view(BATCH, -1)


class IndexMachine(RuleBasedStateMachine):
    """Does the same to an index and to dictionaries; every state must answer alike."""

    kind = "exact"

    @initialize(metric=st.sampled_from(["cosine", "dot", "l2"]), seed=st.integers(0, 2**16))
    def start(self, metric, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        sizes = {"batch_size": BATCH, "capacity": CAPACITY, "word_size": WIDTH}
        self.index, self.oracle = pair(self.kind, metric=metric, **sizes)

    def vectors(self, count: int) -> torch.Tensor:
        """Small integers, so that zero words and ties come up."""
        return torch.randint(-2, 3, (BATCH, count, WIDTH), generator=self.random).float()

    @rule(rows=slot_rows)
    def update(self, rows: list[list[int]]) -> None:
        slots = slot_tensor(rows)
        words = self.vectors(slots.shape[1])
        self.index.update(slots, words)
        self.oracle.update(slots, words)

    @rule(rows=slot_rows)
    def remove(self, rows: list[list[int]]) -> None:
        self.index.remove(slot_tensor(rows))
        self.oracle.remove(slot_tensor(rows))

    @rule(rows=st.none() | st.lists(st.booleans(), min_size=BATCH, max_size=BATCH))
    def reset(self, rows: list[bool] | None) -> None:
        mask = None if rows is None else torch.tensor(rows)
        self.index.reset(mask)
        self.oracle.reset(mask)

    @rule()
    def copy(self) -> None:
        self.index = self.index.clone()

    @rule(k=st.integers(1, 8))
    def search(self, k: int) -> None:
        self.oracle.assert_agrees(self.index, self.vectors(2), k)

    @invariant()
    def occupancy_agrees(self) -> None:
        if hasattr(self, "index"):
            sizes = [len(memory) for memory in self.oracle.words]
            assert self.index.occupancy.tolist() == sizes


def run(kind: str, phases: Collection[Phase] = tuple(Phase), examples: int = 40) -> None:
    """Drives an index of one kind through random calls, so many times."""
    case = type("Machine", (IndexMachine,), {"kind": kind}).TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=50, phases=phases)
    case("runTest").runTest()


@pytest.mark.parametrize("kind", CASES)
def test_any_sequence_of_calls(kind: str) -> None:
    run(kind)


def test_the_machine_notices_a_wrong_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle forgets nothing on `remove`: the comparison must fail."""
    monkeypatch.setattr(DictIndex, "remove", lambda self, slots: None)
    with pytest.raises(AssertionError):
        run("exact", [Phase.generate])  # without looking for the shortest sequence
