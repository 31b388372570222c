"""bAbI stories told of others: persons, places and things that change their names.

The answer to a question follows from the story, whoever it is about. So a story in which all
persons, say, have exchanged their names is as true as the one in the file, and a network that has
learned the names by heart gains nothing from that. Names come from all tasks, so that what has been
learned of a name in one of them is of use in the others.
"""

import functools

import torch
from torch import Tensor

from sam.tasks.babi_stories import vocabulary

_Group = tuple[tuple[str, ...], ...]  # things that exchange all their words, as many words each

_MEN = (
    *("john", "daniel", "bill", "fred", "jeff", "sumit", "jason", "antoine", "yann"),
    *("bernhard", "greg", "brian", "julius"),
)
_WOMEN = ("mary", "sandra", "julie", "gertrude", "emily", "winona", "jessica", "lily")
_PLACES = (
    *("kitchen", "bedroom", "bathroom", "garden", "hallway", "office"),
    *("park", "school", "cinema"),
)
_OBJECTS = ("football", "apple", "milk")


def _singly(*words: str) -> _Group:
    return tuple((word,) for word in words)


_PERSONS = _singly(*_MEN), _singly(*_WOMEN)
_MOVES = *_PERSONS, _singly(*_PLACES), _singly(*_OBJECTS)
# Of each task, what exchanges its words. Task 18 has nothing: sizes belong to things. In task 20
# things and places go with moods.
_EXCHANGED: dict[int, tuple[_Group, ...]] = {
    **dict.fromkeys(range(1, 15), _MOVES),
    # "sheep" is one word for one and for many, so it stays.
    15: (*_PERSONS, (("wolf", "wolves"), ("mouse", "mice"), ("cat", "cats"))),
    16: (
        *_PERSONS,
        _singly("frog", "lion", "swan", "rhino", "wolf", "mouse", "cat", "sheep"),
        _singly("green", "white", "yellow", "gray", "red", "blue", "pink"),
    ),
    19: (_singly(*_PLACES),),
    20: _PERSONS,
}
# Maps turned, or seen from behind: words in a circle, and the orders that leave it one.
_ROUND = (("north", "n"), ("east", "e"), ("south", "s"), ("west", "w"))
_TURNED = tuple(
    tuple((turn + way * place) % 4 for place in range(4)) for turn in range(4) for way in (1, -1)
)
_SWAPPED = (0, 1), (1, 0)
_SEEN: dict[int, tuple[tuple[_Group, tuple[tuple[int, ...], ...]], ...]] = {
    **dict.fromkeys((4, 19), ((_ROUND, _TURNED),)),
    17: ((_singly("left", "right"), _SWAPPED), (_singly("above", "below"), _SWAPPED)),
}


def renamings(tasks: Tensor, *, generator: torch.Generator) -> Tensor:
    """Draws new names for stories.

    Args:
        tasks: number of each story's bAbI task, [B] int64.
        generator: source of all randomness, on the CPU.

    Returns:
        By story, the word that each word becomes, [B, V] int64; words of no group stay.

    Cost: O(B V).
    """
    count = len(tasks)
    words = torch.arange(len(vocabulary())).repeat(count, 1)
    keys = torch.rand(count, len(vocabulary()), generator=generator)
    for task in tasks.unique().tolist():
        rows = (tasks == task).nonzero()
        for group in _ids(task):
            words[rows.unsqueeze(2), group] = group[keys[rows, group[:, 0]].argsort(1)]
        for group, orders in _views(task):
            order = orders[(keys[rows[:, 0], group[0, 0]] * len(orders)).long()]
            words[rows.unsqueeze(2), group] = group[order]
    return words


@functools.cache
def _ids(task: int) -> list[Tensor]:
    """The groups of a task, [things, words] each."""
    return [_numbers(group) for group in _EXCHANGED.get(task, ())]


@functools.cache
def _views(task: int) -> list[tuple[Tensor, Tensor]]:
    """The maps of a task: its words [things, words], and the orders to draw from [n, things]."""
    return [(_numbers(group), torch.tensor(orders)) for group, orders in _SEEN.get(task, ())]


def _numbers(group: _Group) -> Tensor:
    return torch.tensor([[vocabulary().index(word) for word in words] for words in group])
