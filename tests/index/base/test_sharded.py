"""Two processes that hold a shard each find what one finds in the whole base."""

import signal
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from index import BaseDiff, BaseMemory, FileFormatError, RanksError, ShardedBase, reshard
from index.base.rounds import AGREE, NOTHING, SEARCH, Rounds
from tests.index.base import sharded_ranks
from tests.processes import in_processes

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")


@pytest.fixture
def cut(tmp_path: Path) -> tuple[str, str]:
    """The same words in one piece and in two."""
    BaseMemory.create(tmp_path / "base", sharded_ranks.words_of())
    reshard(tmp_path / "base", 2, to=tmp_path / "shards")
    return str(tmp_path / "base"), str(tmp_path / "shards")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_two_processes_equal_one_until_one_is_killed(cut) -> None:
    """In one run, as most of its time goes by until two processes have begun."""
    assert in_processes(2, sharded_ranks.everything, *cut) == [0, -signal.SIGKILL]


def test_other_shards_and_other_calls_are_told_apart() -> None:
    rounds = Rounds(timedelta(seconds=1), 5)
    rounds._check([NOTHING, SEARCH, SEARCH], [5, 5, 5])
    with pytest.raises(RanksError, match="all processes to open the same shards, got others"):
        rounds._check([SEARCH, SEARCH], [5, 6])
    with pytest.raises(RanksError, match="in step, got rank 0 to search, rank 1 to agree"):
        rounds._check([SEARCH, AGREE], [5, 5])


def test_one_process_opens_a_base_in_one_piece(cut) -> None:
    base, whole = ShardedBase.open(cut[0]), BaseMemory.open(cut[0])
    queries = sharded_ranks.queries_of(0, 3)
    sharded_ranks.same(base.search(queries, 4), whole.search(queries, 4), torch.float64)
    assert base.identity == whole.identity and base.nbytes == whole.nbytes
    for count in (1, 9, 2, 1):  # and so many bytes of a question go along with its numbers
        found = base.search(queries[0].expand(count, -1).float(), 2)
        assert torch.equal(base.words_at(found.slots), whole.words_at(found.slots))
        assert not base.wanted(False)
    with pytest.raises(NotImplementedError, match="commit: expected a BaseMemory, got a Sharded"):
        base.commit(BaseDiff(torch.zeros(1, 0).long(), torch.zeros(1, 0, 6), len(base)))
    with pytest.raises(
        FileFormatError, match=r"as many shards as processes, 1, got 2; .*--shards 1"
    ):
        ShardedBase.open(cut[1])
    with pytest.raises(FileFormatError, match=r"got one of several shards; ShardedBase.open"):
        BaseMemory.open(cut[1])
