"""What the sweep measures: a model, the way it runs, its index and its memory; all of it in turns.

Every model takes its turns beside a loop of nn.LSTMCell in the same rounds, and the sizes of one
model that are compared stand in the same rounds too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, cast

from benchmarks.bytes.footprint import bytes_per_step, saved_bytes
from benchmarks.harness import Lap, Measured, Report, Spread, ratio, spread, take_turns
from benchmarks.workload import PATHS, PathName, Trained, Workload, paths_with
from index.spelling import parse_index

LOOP, LSTM = "LSTMCell loop", "nn.LSTM"
DENSE = ("dam", "ntm", "dnc")
FEWEST_ROUNDS = 3
# Between two lengths, over which a sparse model's room for words does not double.
_LENGTHS = {True: (40, 60), False: (4, 8)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A model at one size of memory.

    Attributes:
        model: a name of the library, or one of the two baselines, `LOOP` and `LSTM`.
        memory_size: N; None for a baseline.
        path: how a sparse model runs, one of `PATHS`.
        index: of a sparse model, as `index.spelling.parse_index` reads it.
        full: whether every slot holds a word from the start.
    """

    model: str
    memory_size: int | None = None
    path: str | None = None
    index: str | None = None
    full: bool = False

    @property
    def line(self) -> str:
        """The case without its size: what is followed from size to size."""
        parts = self.model, self.index, self.path, "full" if self.full else None
        return " ".join(part for part in parts if part)

    def trained(self, workload: Workload) -> Trained:
        """The model with inputs; its memory is fresh."""
        if self.memory_size is None:
            return workload.nn_lstm() if self.model == LSTM else workload.lstm_cell_loop()
        if self.index is not None:
            workload = replace(workload, index=parse_index(self.index))
        return workload.trained(self.model, self.memory_size, cast(PathName, self.path or PATHS[0]))


def sparse_cases(memory_size: int, *, indexes: Sequence[str] = ("exact",)) -> list[Case]:
    """SAM on every path with the first index, on the fastest with the others; SDNC compiled."""
    first, *others = indexes
    ways = [*((path, first) for path in PATHS), *((paths_with(name)[0], name) for name in others)]
    sam = [Case(model="sam", memory_size=memory_size, path=p, index=i) for p, i in ways]
    compiled = (path for path in PATHS if path != "plain")
    sdnc = [Case(model="sdnc", memory_size=memory_size, path=p, index=first) for p in compiled]
    return [*sam, *sdnc]


class Taken(NamedTuple):
    """Times of some cases in turns: as they go into a file of results, and as numbers."""

    entries: list[dict[str, Any]]  # of the loop, then of each case
    times: dict[Case, list[float]]  # seconds of a turn's phases together, per round
    rounds: int

    def of_cases(self) -> Iterator[tuple[Case, dict[str, Any]]]:
        """Each case with its entry, to which more can be added."""
        return zip(self.times, self.entries[1:], strict=True)


def take(
    cases: Mapping[Case, Measured],
    workload: Workload,
    *,
    rounds: int,
    budget: float,
    report: Report,
    calls: int = 1,
) -> Taken:
    """Times cases in turns, each size beside a turn of the LSTMCell loop of its own.

    Args:
        cases: what to time; the loop is added.
        workload: of the loop.
        rounds: turns of each that count, if the budget suffices.
        budget: seconds that all of it may take. There are fewer rounds then, but never fewer than
            `FEWEST_ROUNDS`.
        report: takes a line about what will happen.
        calls: sequences in a turn.

    Returns:
        An entry for each case and one for the loop: seconds per step and the ratio to the loop.
    """
    loop = Case(model=LOOP)
    run = loop.trained(workload).timed
    sizes = sorted({case.memory_size or 0 for case in cases})
    things: dict[str, Measured] = {}
    beside: dict[Case, str] = {}
    # The largest next to the smallest: their ratio is asked for.
    for size in dict.fromkeys((sizes[0], sizes[-1], *sizes)):
        name = f"{LOOP} {size}"
        things[name] = repeated(run, calls)
        for case, measured in cases.items():
            if (case.memory_size or 0) == size:
                things[_name(case)] = repeated(measured, calls)
                beside[case] = name
    once = take_turns(things, rounds=1)  # after a first time, in which forms are compiled
    seconds = sum(turns["total"][0] for turns in once.values())
    fitting = max(FEWEST_ROUNDS, int(budget / max(seconds, 1e-9)))
    rounds = min(rounds, fitting)
    report(
        f"{len(things)} turns a round, {seconds:.1f} s; {rounds} rounds: "
        f"about {rounds * seconds:.0f} s"
    )
    times = take_turns(things, rounds=rounds, warmup=0)
    steps = workload.steps * calls
    common = {"steps": workload.steps, "batch_size": workload.batch_size, "rounds": rounds}
    pooled = {
        phase: [second for name in dict.fromkeys(beside.values()) for second in times[name][phase]]
        for phase in ("forward", "backward", "total")
    }
    entries = [asdict(loop) | common | {"seconds_per_step": per_step(pooled, steps)}]
    for case, name in beside.items():
        turns = times[_name(case)]
        entry = {
            "seconds_per_step": per_step(turns, steps),
            "to_lstm": ratio(turns["total"], times[name]["total"]),
        }
        entries.append(asdict(case) | common | entry)
    return Taken(entries, {case: times[_name(case)]["total"] for case in beside}, rounds)


def flat(taken: Taken) -> dict[str, Any]:
    """For each line with several sizes its time at the largest to that at the smallest."""
    lines: dict[str, list[Case]] = {}
    for case in sorted(taken.times, key=lambda case: case.memory_size or 0):
        lines.setdefault(case.line, []).append(case)
    return {
        line: {
            "sizes": [found[0].memory_size, found[-1].memory_size],
            "ratio": ratio(taken.times[found[-1]], taken.times[found[0]]),
        }
        for line, found in lines.items()
        if len(found) > 1
    }


def kept_per_step(case: Case, workload: Workload, *, steps: tuple[int, int] | None = None) -> float:
    """Bytes that a model keeps per step for the backward pass, of one sequence at batch 1.

    Not counted: parameters, and the words themselves, which are there once and grow with the number
    of words written, not with N.

    Args:
        case: with a fresh memory.
        workload: the sizes.
        steps: two lengths to compare.
    """

    def saved(length: int) -> int:
        trained = case.trained(replace(workload, steps=length, batch_size=1))
        return saved_bytes(trained.loss, apart_from=trained.model.parameters())

    lengths = _LENGTHS[case.model not in DENSE] if steps is None else steps
    return bytes_per_step(saved, batch_size=1, steps=lengths)


def per_step(seconds: Mapping[str, Sequence[float]], steps: int) -> dict[str, Spread]:
    """Spreads of the seconds of one step, phase by phase."""
    return {phase: spread([value / steps for value in values]) for phase, values in seconds.items()}


def repeated(measured: Measured, calls: int) -> Measured:
    """Several calls as one turn, long enough for the clock."""

    def run(lap: Lap) -> None:
        for _ in range(calls):
            measured(lap)

    return run if calls > 1 else measured


def _name(case: Case) -> str:
    return f"{case.line} {case.memory_size}"
