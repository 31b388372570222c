"""Two processes that train together equal one; they stop, break off and go on together."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from index.compiled import is_compiled
from sam.errors import ConfigError
from sam.train.folder import load_run
from sam.train.lines import read_metrics
from sam.train.processes import ALONE, Processes, on_this_machine, process_group, several
from sam.train.run import train_run
from sam.train.settings import resolve
from sam.train.train_config import RunConfig
from tests.processes import in_processes
from tests.train.conftest import tiny_tables
from tests.train.together import Found, lose_the_other, train_all_wide, train_runs, train_wide

Build = Callable[..., RunConfig]
# Two processes compile where nothing is kept from an earlier run.
pytestmark = pytest.mark.timeout(400)
needs_processes = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch is built without torch.distributed"
)
COMPILED = is_compiled(None, torch.device("cpu"), torch.float32)


def tables(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    made = tiny_tables()
    for section, values in changes.items():
        made[section] = made.get(section, {}) | values
    return made


# Five rows make shares of two and three.
WIDE = {
    name: tables(
        model={"compiled": compiled},
        train={"batch_size": 5, "max_updates": 5, "log_every": 2},
        curriculum={"enabled": curriculum, "threshold": 9.0, "min_hard": 1},
        optimizer={"clip_norm": 0.1},
        index={"kind": index},
    )
    for name, compiled, curriculum, index in (
        ("plain", False, False, "exact"),
        ("compiled", COMPILED, False, "exact"),
        ("curriculum", COMPILED, True, "exact"),
        ("approximate", COMPILED, False, "lsh"),
    )
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Found, list[Found]]]:
    """What one process found, and both of two: all at once, as starting processes takes long."""
    folder = tmp_path_factory.mktemp("wide")
    # First by one: what must be compiled is compiled once.
    alone = {name: train_wide(resolve(changes, name)) for name, changes in WIDE.items()}
    assert in_processes(2, train_all_wide, WIDE, folder) == [0, 0]
    return {
        name: (found, [torch.load(folder / f"{name}-{rank}.pt") for rank in (0, 1)])
        for name, found in alone.items()
    }


@needs_processes
@pytest.mark.parametrize("name", WIDE)
def test_two_processes_equal_one(wide: dict[str, tuple[Found, list[Found]]], name: str) -> None:
    (records, parameters), both = wide[name]
    assert both[0][0] == both[1][0], "both processes must take the same decisions"
    for found, others in both:
        assert len(found) == len(records) == 5
        for ours, theirs in zip(records, found, strict=True):
            assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-9)
        torch.testing.assert_close(others, parameters, rtol=0, atol=1e-9)
    assert ("index_recall" in records[1]) == (name == "approximate")


@needs_processes
def test_runs_of_two_processes(
    tiny: Build, tmp_path: Path, assert_equal_runs: Callable[[Path, Path], None]
) -> None:
    changes = tables(
        train={"batch_size": 3, "evaluate_every": 4}, model={"dropout": 0.2}, eval={"count": 2}
    )
    config, half = resolve(changes, "tiny"), dict(changes["train"], max_updates=7)
    train_run(resolve(changes | {"train": half}, "tiny"), tmp_path / "begun-by-one")
    assert in_processes(2, train_runs, changes, tmp_path) == [0, 0]
    # Bit for bit, dropout included.
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")
    assert [line["update"] for line in read_metrics(tmp_path / "whole" / "metrics.jsonl")] == [
        *range(1, 5),
        4,  # the evaluation
        *range(5, 9),
        8,
        *range(9, 13),
        12,
    ]
    assert load_run(tmp_path / "begun-by-one")[2].update == 12
    assert load_run(tmp_path / "stopped")[2].update == 7
    assert train_run(config, tmp_path / "stopped", resume=True).progress.update == 12
    assert not (tmp_path / "unlike").exists() and not (tmp_path / "small").exists()


@needs_processes
def test_the_loss_of_a_process_ends_the_others_and_the_run_resumes(
    tiny: Build, tmp_path: Path
) -> None:
    assert in_processes(2, lose_the_other, tables(), tmp_path) == [0, -signal.SIGKILL]
    told = (tmp_path / "told").read_text()
    assert told.startswith("processes: expected an answer of every") and "\n" not in told
    # What both had done is saved, though no checkpoint was due.
    assert load_run(tmp_path / "lost")[2].update == 7
    train_run(tiny(), tmp_path / "lost", resume=True)
    train_run(tiny(), tmp_path / "whole")
    for ours, theirs in zip(
        read_metrics(tmp_path / "whole" / "metrics.jsonl"),
        read_metrics(tmp_path / "lost" / "metrics.jsonl"),
        strict=True,
    ):
        assert theirs == pytest.approx(ours, rel=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_are_the_batch(tiny: Build, count: int) -> None:
    rows = [Processes(rank, count).rows(5) for rank in range(count)]
    assert [i for share in rows for i in range(5)[share]] == [*range(5)]
    sizes = [len(range(5)[share]) for share in rows]
    assert max(sizes) - min(sizes) <= 1
    batch = tiny().task.sample(5, generator=torch.Generator().manual_seed(0))
    shares = [Processes(rank, count).share(batch) for rank in range(count)]
    assert torch.equal(torch.cat([share.inputs for share in shares], 1), batch.inputs)
    for name, values in batch.slices.items():
        assert torch.equal(torch.cat([share.slices[name] for share in shares]), values)


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"RANK": "", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "two"},
        {"RANK": "0", "WORLD_SIZE": "0"},
    ],
)
def test_an_environment_that_makes_no_sense(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="RANK, WORLD_SIZE: expected a rank below"):
        several(environment)


def test_memory_is_shared_by_those_on_a_machine() -> None:
    assert on_this_machine({}) == on_this_machine({"LOCAL_WORLD_SIZE": "two"}) == 1
    assert on_this_machine({"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}) == 4


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert several({}) is None and several({"RANK": "0", "WORLD_SIZE": "1"}) is None
    monkeypatch.delenv("RANK", raising=False)
    with process_group() as processes:
        assert processes is ALONE


@needs_processes
def test_nobody_to_meet_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ConfigError, match=r"processes: .*MASTER_ADDR"), process_group():
        pass
