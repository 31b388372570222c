"""A comparison gives all indexes the same words, and finds out which of them are good."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from index import ExactIndex, IndexConfig, Neighbors
from index.bench.comparison import Comparison, Maker, maker
from index.bench.traffic import Setting, Traffic
from index.bench.word_sources import WORDS
from index.errors import UnknownNameError

SETTING = Setting(memory_size=256, word_size=16, batch_size=3, writes=5)


class Blind(ExactIndex):
    """Does not see words at odd slots."""

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        near = super()._search(queries, k)
        odd = near.slots % 2 == 1
        return Neighbors(near.slots.masked_fill(odd, -1), near.scores.masked_fill(odd, -torch.inf))


class Stubborn(ExactIndex):
    """Keeps the words it was loaded with."""

    def update(self, slots: Tensor, words: Tensor) -> None:
        pass


def make(cls: type[ExactIndex], setting: Setting = SETTING) -> Maker:
    return lambda: cls(
        IndexConfig(),
        batch_size=setting.batch_size,
        capacity=setting.memory_size,
        word_size=setting.word_size,
    )


def once(things: Mapping[str, Any]) -> dict:
    """Takes turns without a clock: seconds are calls."""
    calls: dict[str, list[str]] = {name: [] for name in things}
    for name, thing in things.items():
        thing(calls[name].append)
    return {
        name: {phase: [float(phases.count(phase))] for phase in ("update", "search")}
        for name, phases in calls.items()
    }


def test_recall_tells_good_from_bad() -> None:
    comparison = Comparison(SETTING, {"blind": make(Blind), "stubborn": make(Stubborn)})
    assert list(comparison.load()) == ["exact", "blind", "stubborn"]
    judged = comparison.judge()
    assert judged["exact"][:2] == judged["stubborn"][:2] == (1.0, 1.0)
    assert 0.35 < judged["blind"].recall_1 < 0.65
    assert 0.35 < judged["blind"].recall_k < 0.65
    assert judged["exact"].candidates == 256
    seconds = comparison.rewrite(comparison.traffic.updates(2 * 256, per_call=7))
    assert min(seconds.values()) >= 0
    judged = comparison.judge()
    assert judged["exact"][:2] == (1.0, 1.0)
    assert judged["stubborn"].recall_1 < 0.1


def test_indexes_agree_again_after_steps_of_different_number() -> None:
    comparison = Comparison(SETTING, {"twin": make(ExactIndex)})
    comparison.load()

    def unfair(things: Mapping[str, Any]) -> dict:
        for _ in range(4):
            things["twin"](lambda phase: None)
        return once(things)

    comparison.time(unfair)
    assert comparison.judge()["twin"].recall_k < 1  # or the rest of the test shows nothing
    comparison.rewrite(comparison.traffic.updates(256, per_call=64))
    assert comparison.judge()["twin"][:2] == (1.0, 1.0)


def test_seconds_are_per_step() -> None:
    comparison = Comparison(SETTING, {"twin": make(ExactIndex)})
    comparison.load()
    seconds = {"update": [1.0], "search": [1.0]}
    assert comparison.time(once) == {"exact": seconds, "twin": seconds}


def test_bytes_held_are_those_of_the_indexes() -> None:
    comparison = Comparison(SETTING, {})
    comparison.load()
    held = comparison.bytes_held()["exact"]
    assert 4 * 3 * 256 * 16 < held < 1.2 * 4 * 3 * 256 * 16


@pytest.mark.parametrize("words", WORDS)
def test_updates_reach_every_slot_once_a_round(words: str) -> None:
    traffic = Traffic(Setting(memory_size=100, word_size=4, batch_size=3, writes=7, words=words))
    traffic.fill()
    calls = list(traffic.updates(100, per_call=7))
    assert [slots.shape[1] for slots, _ in calls] == [7] * 14 + [2]
    slots = torch.cat([slots for slots, _ in calls], 1)
    assert torch.equal(slots.sort(1).values, torch.arange(100).expand(3, -1))
    assert not torch.equal(slots[0], slots[1])
    for call, new in calls:
        assert new.shape == (*call.shape, 4)
        assert len(call[0].unique()) == call.shape[1]
    (all_at_once,) = [slots.shape[1] for slots, _ in traffic.updates(70, per_call=1000)]
    assert all_at_once == 70
    assert [slots.shape[1] for slots, _ in traffic.updates(150, per_call=1000)] == [100, 50]


def test_queries_are_near_words_that_are_in_memory_now() -> None:
    setting = Setting(memory_size=300, word_size=64, batch_size=2, words="gaussian")
    traffic = Traffic(setting)
    mirror = traffic.fill().clone()

    def farthest() -> float:
        return float(torch.cdist(traffic.queries(50), mirror).amin(2).max())

    assert farthest() < 0.6  # noise of norm 0.3; other words are at about 1.4
    changes = [
        *traffic.updates(200, per_call=9),
        *traffic.rewrites(5, hot=20, noise=0.1),
        *traffic.updates(200, per_call=300),
    ]
    for slots, words in changes:
        for b in range(2):
            mirror[b, slots[b]] = words[b]
    assert farthest() < 0.6


def test_hot_words_stay_near_where_they_were() -> None:
    traffic = Traffic(SETTING)
    start = traffic.fill().clone()
    seen = set()
    for slots, words in traffic.rewrites(50, hot=12, noise=0.1):
        assert slots.shape == (3, 5)
        assert len(slots[0].unique()) == 5
        seen |= {*slots.flatten().tolist()}
        old = start.gather(1, slots.unsqueeze(2).expand(-1, -1, 16))
        distance = (words - old).norm(dim=2)
        assert 0 < distance.min() < distance.max() < 0.3
    assert len(seen) == 12


def test_words_are_as_said() -> None:
    generator = torch.Generator().manual_seed(0)
    gaussian = WORDS["gaussian"](2, 640, 32, generator=generator).draw(500)
    torch.testing.assert_close(gaussian.norm(dim=2), torch.ones(2, 500))
    source = WORDS["clustered"](2, 640, 32, generator=generator)
    words = source.draw(640)
    near = torch.cdist(words[0], words[0]) < 1.1  # two of one cluster: 0.5 sqrt 2; of others: 1.6
    assert 30 < float(near.sum(1).float().mean()) < 110  # 640 words in 10 clusters
    source.renew()
    assert float(torch.cdist(source.draw(100)[0], words[0]).amin()) > 0.5


def test_the_same_seed_gives_the_same_traffic() -> None:
    def drawn(seed: int) -> Tensor:
        traffic = Traffic(Setting(memory_size=64, writes=4, seed=seed))
        words = traffic.fill()
        return torch.cat([words, *(w for _, w in traffic.updates(8, per_call=4))], 1)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory_size": 0}, "memory_size: expected an integer of at least 1, got 0"),
        ({"memory_size": 16}, "writes: expected at most memory_size=16, got 36"),
        ({"memory_size": 64, "words": "gausian"}, "did you mean 'gaussian'?"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises((ValueError, UnknownNameError)) as caught:
        Setting(**arguments)
    assert message in str(caught.value)


def test_only_cosines_are_compared() -> None:
    with pytest.raises(ValueError, match="metric: expected 'cosine' in a comparison, got 'l2'"):
        maker(IndexConfig(metric="l2"), SETTING)
