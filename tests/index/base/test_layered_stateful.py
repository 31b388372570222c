"""Random sequences of calls of an index over a base, against dictionaries that begin with it."""

import pickle
from collections.abc import Collection

import pytest
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from index import BaseMemory, LayeredIndex, make_index
from index.compiled import use_compiled
from index.testing import METRICS, DictIndex
from tests.index.oracle import FORMS, config_of

BATCH, COUNT, CAPACITY, WIDTH = 3, 12, 20, 3
slot_rows = st.integers(0, 6).flatmap(
    lambda m: st.lists(
        st.lists(st.integers(-1, CAPACITY - 1), min_size=m, max_size=m),
        min_size=BATCH,
        max_size=BATCH,
    )
)
masks = st.lists(st.booleans(), min_size=BATCH, max_size=BATCH)


def as_in(base: BaseMemory) -> dict:
    words = base.words_at(torch.arange(len(base))).double().numpy()
    return dict(enumerate(words))


class LayeredMachine(RuleBasedStateMachine):
    """Does the same to an index and to dictionaries; every state must answer alike."""

    kind, bases = "exact", {}

    @initialize(metric=st.sampled_from(METRICS), seed=st.integers(0, 2**16))
    def start(self, metric, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.base = self.bases[metric]
        sizes = {"batch_size": BATCH, "capacity": CAPACITY, "word_size": WIDTH}
        self.index = make_index(config_of(self.kind, metric), base=self.base, **sizes)
        assert isinstance(self.index, LayeredIndex)
        self.oracle = DictIndex(BATCH, metric)
        self.oracle.words = [as_in(self.base) for _ in range(BATCH)]

    def vectors(self, count: int, batch: int = BATCH) -> torch.Tensor:
        """Small integers, so that zero words and ties come up."""
        return torch.randint(-2, 3, (batch, count, WIDTH), generator=self.random).float()

    @rule(rows=slot_rows)
    def update(self, rows: list[list[int]]) -> None:
        slots = torch.tensor(rows, dtype=torch.int64).view(BATCH, -1)
        words = self.vectors(slots.shape[1])
        self.index.update(slots, words)
        self.oracle.update(slots, words)

    @rule(rows=slot_rows)
    def remove(self, rows: list[list[int]]) -> None:
        slots = torch.tensor(rows, dtype=torch.int64).view(BATCH, -1)
        self.index.remove(slots)
        self.oracle.remove(slots)

    @rule(rows=st.none() | masks)
    def reset(self, rows: list[bool] | None) -> None:
        mask = None if rows is None else torch.tensor(rows)
        self.index.reset(mask)
        self.oracle.reset(mask)

    @rule(rows=st.none() | masks)
    def begin(self, rows: list[bool] | None) -> None:
        self.index.begin(None if rows is None else torch.tensor(rows))
        for b in range(BATCH):
            if rows is None or rows[b]:
                self.oracle.words[b] = as_in(self.base)

    @rule(other=st.sampled_from(["clone", "pickle", "rows", "put"]))
    def copy(self, other: str) -> None:
        if other == "clone":
            self.index = self.index.clone()
        elif other == "pickle":
            self.index = pickle.loads(pickle.dumps(self.index))
        elif other == "rows":
            first, rest = self.index.rows(torch.tensor([1])), self.index.rows(torch.tensor([2, 0]))
            self.index = self.index.cat([first, rest])
            words = self.oracle.words
            self.oracle.words = [words[1], words[2], words[0]]
        else:
            self.index.put(torch.tensor([2, 0]), self.index.rows(torch.tensor([0, 1])))
            words = self.oracle.words
            self.oracle.words = [dict(words[1]), words[1], words[0]]

    @rule(k=st.integers(1, 8), exact=st.booleans())
    def search(self, k: int, exact: bool) -> None:
        self.oracle.assert_agrees(self.index, self.vectors(2), k)
        if exact and self.index.searching != "exact":
            queries = self.vectors(2)
            found, true = self.index.search_exact(queries, k), self.index.clone()
            assert (found.scores >= true.search(queries, k).scores - 1e-4).all()

    @invariant()
    def occupancy_agrees(self) -> None:
        if hasattr(self, "index"):
            sizes = [len(memory) for memory in self.oracle.words]
            assert self.index.occupancy.tolist() == sizes


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BaseMemory]:
    """Bases of small integers."""
    folder, made = tmp_path_factory.mktemp("bases"), {}
    for metric in METRICS:
        words = torch.randint(-2, 3, (COUNT, WIDTH), generator=torch.Generator().manual_seed(1))
        made[metric] = BaseMemory.create(folder / metric, words, metric=metric)
    return made


def run(bases, kind: str, phases: Collection[Phase] = tuple(Phase)) -> None:
    members = {"kind": kind, "bases": bases}
    case = type("Machine", (LayeredMachine,), members).TestCase
    case.settings = settings(max_examples=20, stateful_step_count=40, phases=phases)
    case("runTest").runTest()


@pytest.mark.parametrize(
    ("kind", "form"), [*(("exact", f) for f in FORMS), ("product, always", False)]
)
def test_any_sequence_of_calls(bases, kind: str, form: bool) -> None:
    with use_compiled(form):
        run(bases, kind)


def test_the_machine_notices_words_that_are_not_hidden(bases, monkeypatch) -> None:
    nowhere = {"find": lambda self, slots, memories=None: torch.full_like(slots, -1)}
    monkeypatch.setattr("index.base.slot_map.SlotMap.find", nowhere["find"])
    with use_compiled(False), pytest.raises(AssertionError):
        run(bases, "exact", [Phase.generate])
