"""The parts of the index benchmark; each measures one comparison and returns records for JSON.

Sized parts ("clustered", "gaussian") measure an index fresh and after churn. "drift" replaces every
word by one from other clusters. "hot" rewrites a few words over and over.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from benchmarks.harness import ratio, spread, take_turns
from benchmarks.index.index_room import Participant
from index.bench.comparison import EXACT, Comparison, Judged
from index.bench.traffic import Setting

# Churn replaces so many slots, as often: up to this size with updates as a model makes them, above
# in large calls, because small ones would take minutes.
_STEPWISE_UP_TO, _LARGE_CALL = 2**16, 4096
_HOT_SLOTS, _HOT_NOISE = 256, 0.1
# Queries of a memory that recall is averaged over; fewer where the exact search takes seconds.
_SAMPLE, _LARGE_SAMPLE = 256, 64

Records = list[dict[str, Any]]


def churn_of(setting: Setting) -> dict[str, int]:
    """Slots of each memory that churn replaces, and how many of them in a call."""
    size = setting.memory_size
    if size <= _STEPWISE_UP_TO:
        return {"slots": 2 * size, "per_call": setting.writes}
    return {"slots": size // 4, "per_call": _LARGE_CALL}


def sized(setting: Setting, group: Sequence[Participant], *, rounds: int) -> Records:
    """Build, recall and times when fresh and after churn, bytes.

    Args:
        setting: sizes and kind of words.
        group: exact search first.
        rounds: turns of each index, in each of the two states.

    Returns:
        For each index: ``build_seconds``, ``nbytes``, ``extra_bytes_per_word``, ``churn_ms`` for
        as many slots as a step replaces, relearning included, and in ``fresh`` and ``churned`` what
        `_state` says.
    """
    comparison = Comparison(setting, {one.name: one.make for one in group})
    built = comparison.load()
    fresh = _state(comparison, group, rounds=rounds)
    churn = churn_of(setting)
    spent = comparison.rewrite(
        comparison.traffic.updates(churn["slots"], per_call=churn["per_call"])
    )
    churned = _state(comparison, group, rounds=rounds)
    held, words = comparison.bytes_held(), setting.batch_size * setting.memory_size
    return [
        {
            "name": one.name,
            "family": one.family,
            "build_seconds": built[one.name],
            "nbytes": held[one.name],
            "extra_bytes_per_word": held[one.name] / words - 4 * setting.word_size,
            "churn_ms": 1e3 * spent[one.name] * setting.writes / churn["slots"],
            "fresh": fresh[one.name],
            "churned": churned[one.name],
        }
        for one in group
    ]


def _state(
    comparison: Comparison, group: Sequence[Participant], *, rounds: int
) -> dict[str, dict[str, Any]]:
    """Recall, candidates, milliseconds per step, and ratios to exact search and to FAISS."""
    judged = _judge(comparison)
    times = comparison.time(partial(take_turns, rounds=rounds))
    beside = [one.name for one in group if one.family in (EXACT, "raw faiss", "faiss")]
    return {
        name: judged[name]._asdict()
        | {
            "ms": {p: spread([1e3 * s for s in seconds]) for p, seconds in phases.items()},
            "to": {o: ratio(phases["total"], times[o]["total"]) for o in beside if o != name},
        }
        for name, phases in times.items()
    }


def drift(setting: Setting, group: Sequence[Participant]) -> Records:
    """Recall before and after every word was replaced by one from clusters drawn anew."""
    comparison = Comparison(setting, {one.name: one.make for one in group})
    comparison.load()
    before = _judge(comparison)
    comparison.traffic.renew()
    updates = comparison.traffic.updates(setting.memory_size, per_call=setting.writes)
    return _before_and_after(comparison, group, before, updates)


def hot(setting: Setting, group: Sequence[Participant], *, calls: int) -> Records:
    """Recall over all words before and after 256 words of each memory were rewritten often.

    Args:
        setting: sizes and kind of words.
        group: the indexes.
        calls: updates, each of as many slots as a step replaces.
    """
    comparison = Comparison(setting, {one.name: one.make for one in group})
    comparison.load()
    before = _judge(comparison)
    updates = comparison.traffic.rewrites(calls, hot=_HOT_SLOTS, noise=_HOT_NOISE)
    return _before_and_after(comparison, group, before, updates)


def _before_and_after(
    comparison: Comparison,
    group: Sequence[Participant],
    before: dict[str, Judged],
    updates: Iterable[tuple[Tensor, Tensor]],
) -> Records:
    spent = comparison.rewrite(updates)
    after = _judge(comparison)
    return [
        {
            "name": one.name,
            "family": one.family,
            "before": before[one.name]._asdict(),
            "after": after[one.name]._asdict(),
            "seconds": spent[one.name],
        }
        for one in group
    ]


def _judge(comparison: Comparison) -> dict[str, Judged]:
    small = comparison.setting.memory_size <= _STEPWISE_UP_TO
    return comparison.judge(_SAMPLE if small else _LARGE_SAMPLE)
