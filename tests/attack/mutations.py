"""What people, and accidents, make of the state of a model; and whether it is a state still.

A mutation takes a `Scene` and returns the state it makes of the scene's. It draws from the scene's
own generator and uses nothing but the scene, so that it can be done to two scenes alike.
"""

import copy
from collections.abc import Callable
from random import Random
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from tests.attack.state_cases import ROWS


class Scene(NamedTuple):
    """A state and what is at hand to mix it with."""

    state: Any
    used: Any  # the same state before the last step, which has consumed it where it can
    older: Any  # a clone of it as it was then
    other: Any  # of the same model after other inputs
    stranger: Any  # of a model with other sizes
    within: str  # "memory" where no more than that part of the state is used
    chance: Random


class Mutation(NamedTuple):
    """What is done to a state."""

    change: Callable[[Scene], Any]  # None where there is no such part
    legal: Literal["never", "dense", "always"] = "never"  # or for states that are tensors alone
    rows: Callable[[Random], list[int]] | None = None  # which rows of the state its rows are
    batch: int | None = None  # rows of the inputs, if others than the state's


def tensors(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The state with all tensors in it changed, which leaves out what objects hold."""
    return tree_map(lambda part: change(part) if isinstance(part, Tensor) else part, state)


def floats(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return tensors(state, lambda part: change(part) if part.is_floating_point() else part)


def some(scene: Scene, change: Callable[[Tensor], Tensor], *, kind: str) -> Any:
    """The state with one to all of its tensors of a kind changed: "float" or "slots"."""
    whole = getattr(scene.state, scene.within) if scene.within else scene.state
    wanted = [p for p in _leaves(whole) if p.is_floating_point() == (kind == "float")]
    if not wanted:
        return None
    places = set(scene.chance.sample(range(len(wanted)), scene.chance.randint(1, len(wanted))))
    chosen = [part for place, part in enumerate(wanted) if place in places]
    return tensors(
        scene.state, lambda part: change(part) if any(part is c for c in chosen) else part
    )


def gathered(scene: Scene, rows: list[int]) -> Any:
    return tensors(scene.state, lambda part: part[torch.tensor(rows, dtype=torch.int64)])


def _permutation(chance: Random) -> list[int]:
    rows = list(range(ROWS))
    while rows == sorted(rows):
        chance.shuffle(rows)
    return rows


def _turned(part: Tensor) -> Tensor:
    return part.roll(1, 0)


def _strided(part: Tensor) -> Tensor:
    """Equal numbers with gaps between them."""
    if part.dim() == 0:
        return part
    return part.unsqueeze(-1).expand(*part.shape, 2).contiguous()[..., 0]


def _transposed(part: Tensor) -> Tensor:
    """With the batch last, in another shape."""
    return part.transpose(0, -1) if part.shape[0] != part.shape[-1] else part.flatten()


def _in_place(state: Any, change: Callable[[Tensor], Any]) -> Any:
    """The state after a change of its slots in place."""
    found = [part for part in _leaves(state) if not part.is_floating_point()]
    for slots in found:
        change(slots)
    return state if found else None


def _leaves(state: Any) -> list[Tensor]:
    return [part for part in tree_leaves(state) if isinstance(part, Tensor)]


def _field(name: str, source: str) -> Callable[[Scene], Any]:
    """A field of the memory, or of the state, from another state of the scene."""

    def change(scene: Scene) -> Any:
        here, there = scene.state, getattr(scene, source)
        if name in ("controller", "reads", "layer", "memory"):
            if name not in here._fields or scene.within not in ("", name):
                return None
            part = getattr(there, name)
            return here._replace(**{name: part}) if tree_leaves(part) else None
        here, there = getattr(here, "memory", None), getattr(there, "memory", None)
        if name not in getattr(here, "_fields", ()):
            return None
        return scene.state._replace(memory=here._replace(**{name: getattr(there, name)}))

    return change


def _slots(name: str, source: str) -> Callable[[Scene], Any]:
    """Slots of weights of another state, with the values of this one."""

    def change(scene: Scene) -> Any:
        here, there = (getattr(s, "memory", None) for s in (scene.state, getattr(scene, source)))
        if not hasattr(here, "order"):
            return None
        weights = getattr(here, name)._replace(slots=getattr(there, name).slots)
        return scene.state._replace(memory=here._replace(**{name: weights}))

    return change


def _part(name: str, change: Callable[[Any], Any]) -> Callable[[Scene], Any]:
    """One part of a sparse memory changed on its own."""

    def changed(scene: Scene) -> Any:
        memory = getattr(scene.state, "memory", None)
        if not hasattr(memory, "order") or name not in memory._fields:
            return None
        return scene.state._replace(memory=memory._replace(**{name: change(getattr(memory, name))}))

    return changed


def _gather(rows: Callable[[Random], list[int]], batch: int | None = None) -> Mutation:
    legal = "dense" if batch is None else "never"
    return Mutation(lambda scene: gathered(scene, rows(scene.chance)), legal, rows, batch)


def _repeat(times: int) -> Callable[[Random], list[int]]:
    return lambda chance: list(range(ROWS)) * times


def _other_dtype(part: Tensor) -> Tensor:
    return part.float() if part.dtype == torch.float64 else part.double()


MUTATIONS: dict[str, Mutation] = {
    "nothing": Mutation(lambda scene: scene.state, legal="always"),
    "rows permuted": _gather(_permutation),
    "rows picked": _gather(lambda chance: chance.sample(range(ROWS), chance.randint(1, ROWS))),
    "rows drawn": _gather(lambda chance: chance.choices(range(ROWS), k=chance.randint(1, 9))),
    "rows twice": _gather(_repeat(2)),
    "rows 30 times": _gather(_repeat(30)),
    "rows 50 times": _gather(_repeat(50)),
    "too few rows": _gather(lambda chance: [0, 2], batch=ROWS),
    "one row for all": _gather(lambda chance: [1], batch=ROWS),
    "too many rows": _gather(_repeat(50), batch=ROWS),
    "no rows": _gather(lambda chance: [], batch=ROWS),
    "fewer inputs": Mutation(lambda scene: scene.state, batch=1),
    "more inputs": Mutation(lambda scene: scene.state, batch=200),
    "numbers permuted": Mutation(lambda s: some(s, _turned, kind="float"), legal="always"),
    "numbers negated": Mutation(lambda s: some(s, torch.neg, kind="float"), legal="always"),
    "numbers halved": Mutation(lambda s: some(s, lambda p: p * 0.5, kind="float"), legal="always"),
    "numbers zeroed": Mutation(lambda s: some(s, torch.zeros_like, kind="float"), legal="always"),
    "numbers spread": Mutation(lambda s: some(s, _strided, kind="float"), legal="always"),
    "one row's numbers": Mutation(
        lambda s: some(s, lambda part: part[:1].expand_as(part), kind="float"), legal="always"
    ),
    "slots permuted": Mutation(lambda s: some(s, _turned, kind="slots")),
    "slots copied": Mutation(lambda s: some(s, torch.clone, kind="slots")),
    "slots too high": Mutation(lambda s: some(s, lambda p: p + 10**6, kind="slots")),
    "slots far too high": Mutation(lambda s: some(s, lambda p: p + 2**62, kind="slots")),
    "slots negative": Mutation(lambda s: some(s, lambda p: p - 9, kind="slots")),
    "slots of int32": Mutation(lambda s: some(s, Tensor.int, kind="slots")),
    "slots of none": Mutation(lambda s: some(s, lambda p: torch.full_like(p, -1), kind="slots")),
    "slots in place": Mutation(lambda s: _in_place(s.state, lambda p: p.add_(10**7))),
    "slots filled": Mutation(lambda s: _in_place(s.state, lambda p: p.fill_(-3))),
    "another dtype": Mutation(lambda s: floats(s.state, _other_dtype)),
    "some of another dtype": Mutation(lambda s: some(s, _other_dtype, kind="float")),
    "halves": Mutation(lambda s: some(s, Tensor.half, kind="float")),
    "integers": Mutation(lambda s: some(s, Tensor.long, kind="float")),
    "transposed": Mutation(lambda s: some(s, _transposed, kind="float")),
    "a dimension more": Mutation(lambda s: some(s, lambda p: p[None], kind="float")),
    "a dimension less": Mutation(lambda s: some(s, lambda p: p[0], kind="float")),
    "narrow": Mutation(lambda s: some(s, lambda p: p[..., :-1], kind="float")),
    "wide": Mutation(lambda s: some(s, lambda p: torch.cat([p, p], -1), kind="float")),
    "nothing in it": Mutation(lambda s: some(s, lambda p: p[..., :0], kind="float")),
    "no tensor": Mutation(lambda s: some(s, lambda p: None, kind="float")),  # type: ignore
    "numbers of Python": Mutation(lambda s: some(s, lambda p: 0.0, kind="float")),  # type: ignore
    "elsewhere": Mutation(lambda s: some(s, lambda p: p.to("meta"), kind="float")),
    "sparse": Mutation(lambda s: some(s, lambda p: p.to_sparse(), kind="float")),
    **{
        f"no {name}": Mutation(_part(name, lambda part: None))
        for name in ("words", "read_weights", "write_weights", "order", "index", "links")
    },
    "a plain tuple": Mutation(lambda s: tuple(s.state)),
    "a dictionary": Mutation(lambda s: s.state._asdict()),
    "used": Mutation(lambda s: s.used, "dense"),
    "a stranger": Mutation(lambda s: s.stranger),
    **{
        f"a stranger's {name}": Mutation(_field(name, "stranger"))
        for name in ("controller", "reads", "layer", "memory", "words", "order", "index", "links")
    },
    **{
        f"a stranger's {name}": Mutation(_field(name, "stranger"))
        for name in ("read_weights", "write_weights", "usage", "precedence")
    },
    **{
        f"{source}'s {name}": Mutation(_field(name, source), legal="always")
        for source in ("other", "older")
        for name in ("controller", "reads", "layer", "memory")
    },
    **{
        f"{source}'s {name}": Mutation(_field(name, source), "dense")
        for source in ("other", "older")
        for name in ("words", "order", "index", "links", "read_weights", "write_weights")
    },
    **{
        f"used's {name}": Mutation(_field(name, "used"), "dense")
        for name in ("words", "read_weights", "write_weights")
    },
    **{
        f"{source}'s slots of {name}": Mutation(_slots(name, source))
        for source in ("other", "older")
        for name in ("read_weights", "write_weights")
    },
    "words cloned": Mutation(_part("words", lambda words: words.clone())),
    "words copied": Mutation(_part("words", copy.copy), legal="always"),
    "words detached": Mutation(_part("words", lambda words: words.detach()), legal="always"),
    "order cloned": Mutation(_part("order", lambda order: order.clone())),
    "index cloned": Mutation(_part("index", lambda index: index.clone())),
    "links cloned": Mutation(_part("links", lambda links: links.clone())),
    "a clone": Mutation(lambda s: s.state.clone(), legal="always"),
    "a clone, permuted": Mutation(
        lambda s: gathered(s._replace(state=s.state.clone()), _permutation(s.chance)),
        "dense",
        _permutation,
    ),
    "permuted and cloned": Mutation(
        lambda s: gathered(s, _permutation(s.chance)).clone(), "dense", _permutation
    ),
    "permuted and detached": Mutation(
        lambda s: gathered(s, _permutation(s.chance)).detach(), "dense", _permutation
    ),
    "permuted and reset": Mutation(
        lambda s: gathered(s, _permutation(s.chance)).reset(torch.zeros(ROWS, dtype=torch.bool)),
        "dense",
        _permutation,
    ),
}
