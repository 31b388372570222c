"""All shards of a base in one process find what the base in one piece finds."""

import copy
import pickle
from pathlib import Path

import pytest
import torch

from index import (
    BaseDiff,
    BaseMemory,
    FileFormatError,
    JoinedBase,
    make_index,
    open_base,
    reshard,
)
from tests.index.base.sharded_ranks import COUNT, W, queries_of, same, words_of
from tests.memory.base_episodes import FORMS, INPUTS, assert_same, make_model, normal, run


@pytest.fixture
def bases(tmp_path: Path) -> tuple[BaseMemory, JoinedBase]:
    """The same words in one piece and in three."""
    whole = BaseMemory.create(tmp_path / "base", words_of())
    reshard(tmp_path / "base", 3, to=tmp_path / "shards")
    joined = open_base(tmp_path / "shards")
    assert isinstance(joined, JoinedBase) and len(joined.shards) == 3
    return whole, joined


def test_searches_and_fetches_equal_those_of_one_piece(bases) -> None:
    whole, joined = bases
    assert joined.identity == whole.identity and (len(joined), joined.word_size) == (COUNT, W)
    assert joined.nbytes == sum(shard.nbytes for shard in joined.shards) >= 4 * COUNT * W
    for dtype in (torch.float32, torch.float64):
        for k in (1, 4, COUNT // 3 + 9, 2 * COUNT):
            queries = queries_of(1, 5, dtype)
            for exact in (False, True):
                found = joined.search(queries, k, norm_eps=0.1, exact=exact)
                same(found, whole.search(queries, k, norm_eps=0.1), dtype)
    alike = joined.search(words_of()[3:4].double(), 3)  # slots of equal words are in order
    assert alike.slots.tolist() == [[3, COUNT // 2 + 7, COUNT - 1]]
    slots = torch.tensor([[COUNT - 1, 0, -1], [100, 101, 202]])
    assert torch.equal(joined.words_at(slots), whole.words_at(slots))
    assert joined.search(queries_of(0, 3)[:0], 2).slots.shape == (0, 2)


@pytest.mark.parametrize("form", FORMS[::2])
def test_models_over_it_equal_those_over_one_piece(bases, form: str) -> None:
    model, inputs = make_model("sam", COUNT + 5, form), normal(12, 2, INPUTS)
    found, expected = (run(model, model.initial_state(2, base=b), inputs, form) for b in bases)
    assert_same(found, expected)
    loaded = model.load_state(expected.state.state_dict(), base=bases[1])
    assert loaded.memory.order.base is bases[1]


def test_copies_pickles_and_what_is_refused(bases, tmp_path: Path) -> None:
    _, joined = bases
    assert copy.deepcopy(joined) is joined
    again = pickle.loads(pickle.dumps(joined))
    assert torch.equal(again.words_at(torch.tensor([250])), joined.words_at(torch.tensor([250])))
    index = make_index("exact", batch_size=2, capacity=COUNT + 1, word_size=W, base=joined)
    assert index.occupancy.tolist() == [COUNT] * 2
    with pytest.raises(NotImplementedError, match="commit: expected a BaseMemory, got a Joined"):
        joined.commit(BaseDiff(torch.zeros(1, 0).long(), torch.zeros(1, 0, W), COUNT))
    assert isinstance(open_base(tmp_path / "base"), BaseMemory)
    held = pickle.dumps(joined)
    BaseMemory.create(tmp_path / "shards", words_of(20))
    with pytest.raises(FileFormatError, match=r"expected the base .*, got"):
        pickle.loads(held)
    reshard(tmp_path / "shards", 2)
    (tmp_path / "shards" / "shard_1").rename(tmp_path / "elsewhere")
    with pytest.raises(FileFormatError, match="all 2 shards on this machine, got none named"):
        open_base(tmp_path / "shards")
    with pytest.raises(FileNotFoundError, match="expected the folder of a base"):
        open_base(tmp_path / "nowhere")
