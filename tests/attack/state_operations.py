"""Random operations on states, against each batch row on its own, replayed in plain torch.

A try is one operation: 1, 3 or 20 steps at once or one by one, with and without a graph, with rows
that begin anew or end early, or one of `detach`, `clone`, `reset`, `resize`, `to`, `rows`, `cat`,
`put`, pickle, copies, a state_dict, a branch that goes on later, a backward pass, and a state used
again that was consumed. They come in
episodes of one model in one form. All outputs must be those of the rows' replays in the plain form,
and all gradients of inputs, to 1e-9; a consumed state must be refused, and change nothing.
"""

import copy
import itertools
import pickle
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from sam import CellState, StaleStateError
from tests.attack.replay import Cut, Resized, Row
from tests.attack.state_cases import CASES, FORMS, IN, PLAIN, draw, model_of

FULL = 20_000
ROWS, MOST_ROWS = 3, 5
EPISODE = 30  # operations
LENGTHS = (1, 1, 1, 1, 1, 3, 3, 3, 20)
BRANCHES = 3
TOLERANCE = 1e-9
# An approximate index may find other words after it was made anew.
PLACES = [place for place, (_, given) in enumerate(CASES) if "index" not in given]
WIDE = [form for form in dict.fromkeys(FORMS) if form.dtype == torch.float64]


def attack(count: int, seed: int) -> dict[str, int]:
    """Makes `count` operations; returns how many of each kind."""
    made: Counter[str] = Counter()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in itertools.count():
            left = count - made.total()
            if left <= 0:
                return dict(sorted(made.items()))
            made.update(Episode(number, seed).run(min(EPISODE, left)))
    finally:
        torch.set_num_threads(threads)
    raise AssertionError


class Branch:
    """A state, and its rows as replayed."""

    def __init__(self, state: Any, rows: list[Row]) -> None:
        self.state, self.rows = state, rows
        self.consumed: Any = None  # a state that a step has used up


class Episode:
    """Operations on the states of one model, all from one start."""

    def __init__(self, number: int, seed: int) -> None:
        self.label = f"episode {number} of seed {seed}"
        self.chance = chance = Random(f"{seed} {number}")
        self.place = PLACES[number % len(PLACES)]
        self.form = WIDE[number // len(PLACES) % len(WIDE)]
        self.name, options = CASES[self.place]
        self.model = model_of(self.place, self.form)
        plain = model_of(self.place, PLAIN)
        words, given = None, {}
        if self.name in ("sam", "sdnc") and chance.random() < 0.4:
            words = draw(chance.randrange(10**6), ROWS, 6, self.model.cell.memory.word_size)
            given = {"words": words}
        self.size = 0 if self.name == "lstm" else self.model.cell.memory.memory_size
        self.growth = 12 if options.get("memory_size", 99) < 20 else 200
        rows = [Row(plain, None if words is None else words[row]) for row in range(ROWS)]
        self.branches = [Branch(self.model.initial_state(ROWS, **given), rows)]
        self.losses: list[Tensor] = []  # of both sides
        self.leaves: list[tuple[Tensor, Tensor]] = []
        self.made: Counter[str] = Counter()

    def run(self, count: int) -> Counter[str]:
        """Makes operations; how many of each kind.

        Raises:
            AssertionError: naming the episode, its operations so far, and what went wrong.
        """
        done: list[str] = []
        for _ in range(count):
            name = self.chance.choices(list(OPERATIONS), [w for w, _ in OPERATIONS.values()])[0]
            done.append(name)
            try:
                OPERATIONS[name][1](self, self.chance.choice(self.branches))
            except Exception as error:
                where = f"{self.label}: {CASES[self.place]} {self.form} after {done}"
                raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
            self.made[name] += 1
        return self.made

    def steps(self, branch: Branch, *, one_by_one: bool = False, kind: str = "") -> None:
        """Steps of all rows; of some less if they are packed, some anew if they have starts."""
        chance, size = self.chance, len(branch.rows)
        count, graph = chance.choice(LENGTHS), chance.random() < 0.6
        lengths, starts = [count] * size, torch.zeros(count, size, dtype=torch.bool)
        if kind == "packed":
            lengths = [chance.randint(1, count) for _ in range(size)]
        if kind == "starts":
            starts = torch.tensor(
                [[chance.random() < 0.15 for _ in range(size)] for _ in range(count)]
            )
        inputs = draw(chance.randrange(10**6), count, size, IN)
        leaves = inputs.clone().requires_grad_(graph), inputs.requires_grad_(graph)
        before = branch.state
        with torch.set_grad_enabled(graph):
            if one_by_one:
                found = self._one_by_one(branch, leaves[0])
            else:
                given: Any = leaves[0]
                if kind == "packed":
                    length = torch.tensor(lengths)
                    given = pack_padded_sequence(given, length, enforce_sorted=False)
                outputs, branch.state = self.model(
                    given, branch.state, starts=starts if kind == "starts" else None
                )
                packed = isinstance(outputs, PackedSequence)
                found = pad_packed_sequence(outputs)[0] if packed else outputs
        branch.consumed = before if self.name in ("sam", "sdnc") else None
        wanted = [
            self._replayed(row, leaves[1][: lengths[b], b : b + 1], starts[: lengths[b], b], graph)
            for b, row in enumerate(branch.rows)
        ]
        for b, outputs in enumerate(wanted):
            _assert_close(found[: lengths[b], b : b + 1], outputs, "outputs")
        if graph:
            weights = draw(count, *found.shape[1:])
            self.leaves.append(leaves)
            mine = sum((found[: lengths[b], b : b + 1] * weights[b]).sum() for b in range(size))
            theirs = sum((outputs * weights[b]).sum() for b, outputs in enumerate(wanted))
            self.losses += [torch.as_tensor(mine), torch.as_tensor(theirs)]

    def _one_by_one(self, branch: Branch, inputs: Tensor) -> Tensor:
        parts = []
        for given in inputs.split(1):
            outputs, branch.state = self.model(given, branch.state)
            parts.append(outputs)
        return torch.cat(parts)

    def _replayed(self, row: Row, inputs: Tensor, starts: Tensor, graph: bool) -> Tensor:
        edges = sorted({0, len(inputs), *starts.nonzero()[:, 0].tolist()})
        parts = []
        for start, stop in itertools.pairwise(edges):
            if starts[start]:
                row.begin_anew()
            parts.append(row.steps(inputs[start:stop], graph=graph))
        return torch.cat(parts)

    def backward(self, branch: Branch) -> None:
        """One backward pass from all outputs since the last one; then all states are cut off."""
        if self.losses:
            torch.stack(self.losses).sum().backward()
            for mine, theirs in self.leaves:
                for leaf in (mine, theirs):
                    leaf.grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
                _assert_close(mine.grad, theirs.grad, "gradients")
        self.losses, self.leaves = [], []
        for each in self.branches:
            self.cut(each)

    def cut(self, branch: Branch, copier: Callable[[Any], Any] = lambda state: state) -> None:
        """Detaches a state, and may copy it."""
        branch.state = copier(branch.state.detach())
        for row in branch.rows:
            row.note(Cut())

    def change(self, branch: Branch, method: str, *args: Any) -> None:
        """An operation that leaves the state what it is."""
        branch.state = getattr(branch.state, method)(*args)

    def reset(self, branch: Branch) -> None:
        mask = torch.tensor([self.chance.random() < 0.4 for _ in branch.rows])
        branch.consumed = branch.state if self.name in ("sam", "sdnc") else None
        branch.state = branch.state.reset(mask)
        for chosen, row in zip(mask.tolist(), branch.rows, strict=True):
            if chosen:
                row.begin_anew()

    def resize(self, branch: Branch) -> None:
        memory = getattr(branch.state, "memory", None)
        if memory is None:
            return
        now = _memory_size(branch.state)
        if now > self.size + 3 * self.growth:
            return
        branch.state = branch.state.resize(now + self.chance.randint(0, self.growth))
        for row in branch.rows:
            row.note(Resized(_memory_size(branch.state)))

    def pick(self, branch: Branch) -> None:
        """Some rows, in any order, any of them repeatedly; the others are given up."""
        size = len(branch.rows)
        chosen = [self.chance.randrange(size) for _ in range(self.chance.randint(1, MOST_ROWS))]
        branch.state = branch.state.rows([place - size * (place % 2) for place in chosen])
        branch.rows = [branch.rows[place].fork() for place in chosen]

    def join(self, branch: Branch) -> None:
        """The rows of two states in one; both go on as well, or one of them twice."""
        other = self.chance.choice(self.branches)
        if _size(branch) != _size(other) or len(branch.rows) + len(other.rows) > MOST_ROWS:
            return
        rows = [row.fork() for row in (*branch.rows, *other.rows)]
        joined = Branch(CellState.cat([branch.state, other.state]), rows)
        self.branches[self.branches.index(branch)] = joined

    def put(self, branch: Branch) -> None:
        """Rows of another state in the place of some."""
        other = self.chance.choice(self.branches)
        if other is branch or _size(branch) != _size(other):
            return
        size = min(len(branch.rows), len(other.rows))
        places = self.chance.sample(range(len(branch.rows)), size)
        given = other.state.rows(slice(size)) if size < len(other.rows) else other.state
        branch.consumed = branch.state if self.name in ("sam", "sdnc") else None
        branch.state = branch.state.put(places, given)
        for place, row in zip(places, other.rows, strict=False):
            branch.rows[place] = row.fork()

    def through_a_dict(self, state: Any) -> Any:
        size = None if self.name == "lstm" else _memory_size(state)
        return self.model.load_state(state.state_dict(), memory_size=size)

    def branch_off(self, branch: Branch) -> None:
        """A second state with the same past; or a state is given up."""
        if len(self.branches) == BRANCHES:
            self.branches.remove(branch)
            return
        rows = [row.fork() for row in branch.rows]
        self.branches.append(Branch(branch.state.clone(), rows))

    def use_again(self, branch: Branch) -> None:
        """A consumed state is refused, by calls and by operations, and nothing changes."""
        if branch.consumed is None:
            return
        size = branch.consumed.batch_size
        inputs = draw(1, self.chance.choice([1, 3, 20]), size, IN)
        uses: list[Callable[[Any], Any]] = [
            lambda state: self.model(inputs, state),
            lambda state: state.clone(),
            lambda state: state.reset(torch.ones(size, dtype=torch.bool)),
            lambda state: state.rows([0]),
            lambda state: CellState.cat([state, state]),
            lambda state: state.put([0], branch.state.rows([0])),
            lambda state: state.state_dict(),
            lambda state: state.resize(10**6),
            lambda state: state.detach(),
            lambda state: pickle.dumps(state),
        ]
        try:
            self.chance.choice(uses)(branch.consumed)
        except StaleStateError:
            return
        raise AssertionError("a consumed state was taken")


def _memory_size(state: Any) -> int:
    words = state.memory.words
    return words.shape[1] if isinstance(words, Tensor) else words.memory_size


def _size(branch: Branch) -> int:
    """N, where there is a memory."""
    return _memory_size(branch.state) if hasattr(branch.state, "memory") else 0


def _assert_close(found: Any, wanted: Any, what: str) -> None:
    torch.testing.assert_close(
        found, wanted, rtol=TOLERANCE, atol=TOLERANCE, msg=lambda text: f"{what}: {text}"
    )


# Name: how often, and what is done.
OPERATIONS: dict[str, tuple[int, Callable[[Episode, Branch], None]]] = {
    "steps": (12, lambda e, b: e.steps(b)),
    "steps one by one": (5, lambda e, b: e.steps(b, one_by_one=True)),
    "steps with starts": (5, lambda e, b: e.steps(b, kind="starts")),
    "steps packed": (5, lambda e, b: e.steps(b, kind="packed")),
    "detach": (3, lambda e, b: e.cut(b)),
    "pickle": (2, lambda e, b: e.cut(b, lambda state: pickle.loads(pickle.dumps(state)))),
    "deepcopy": (2, lambda e, b: e.cut(b, copy.deepcopy)),
    "clone": (3, lambda e, b: e.change(b, "clone")),
    "rows": (3, lambda e, b: e.pick(b)),
    "cat": (3, lambda e, b: e.join(b)),
    "put": (4, lambda e, b: e.put(b)),
    "state_dict": (2, lambda e, b: e.cut(b, e.through_a_dict)),
    "to": (2, lambda e, b: e.change(b, "to", "cpu")),
    "reset": (3, lambda e, b: e.reset(b)),
    "resize": (2, lambda e, b: e.resize(b)),
    "branch": (4, lambda e, b: e.branch_off(b)),
    "backward": (4, lambda e, b: e.backward(b)),
    "a used state": (3, lambda e, b: e.use_again(b)),
}
