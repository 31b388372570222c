"""States that people made something of, handed to every model in every form: refused, or right.

A try draws a model, a form (compiled or plain, float64 or float32), a state after some steps, a
mutation of it, a way in (the model, its cell, plain or fast, its memory, plain or fast), 1, 3 or 20
steps, and whether there is a graph, whose backward pass is taken then. It ended well if

* ShapeError or StaleStateError was raised, and the mutation is not one that must be taken; or
* rows were gathered into a state of rows, and the outputs are those of the plain form in float64
  after the histories gathered alike: output rows are permuted, picked, repeated as the state's; or
* what was changed may hold any numbers (h, c, reads, weights, all of a dense memory), and the
  outputs are those of the plain form in float64 on a state of its own that was changed alike.

Anything else is a wrong number: any output at all of parts that do not belong together, and any
other error. In float32 a search may find another word where two are equally near; then the same
form must give the same on a state of its own. Gradients of the inputs are compared in float64.
A process that crashes is a try that went wrong.
"""

from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index.compiled import is_compiled
from sam import ShapeError, StaleStateError
from sam.fast.dispatch import compiled_forms, take_step
from sam.fast.fused_access import fused_step, has_current_shapes, is_fusible
from sam.memory.sam import SAMMemory
from sam.memory.sdnc import SDNCMemory
from tests.attack.forked import in_children
from tests.attack.mutations import MUTATIONS, Mutation, Scene
from tests.attack.state_cases import CASES, FORMS, IN, PLAIN, ROWS, Form, draw, model_of

FULL = 2000
SPARSE = ("sam", "sdnc")
LARGER: dict[str, Any] = {"hidden_size": 14, "memory_size": 70, "word_size": 7}


class Plan(NamedTuple):
    """What a try does."""

    place: int  # of `CASES`
    form: Form
    mutation: str
    way: str
    history: int  # steps before the mutation
    chunk: int  # that they are taken by
    loaded: bool  # whether a sparse memory starts with words
    steps: int
    graph: bool
    seed: int

    @property
    def name(self) -> str:
        return CASES[self.place][0]

    @property
    def is_sparse(self) -> bool:
        return self.name in SPARSE


def attack(count: int, seed: int) -> dict[str, int]:
    """Makes `count` tries in child processes; returns how many were refused, equal, ..."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a child has no other threads to share work with
    try:
        for place, form in {(plan_of(n, seed).place, plan_of(n, seed).form) for n in range(count)}:
            _warm(place, form)
        return in_children(count, lambda number: attempt(plan_of(number, seed)))
    finally:
        torch.set_num_threads(threads)


def _warm(place: int, form: Form) -> None:
    """Lets all compiled forms be compiled here, once for all children."""
    plan = Plan(place, form, "nothing", "model", 5, 5, False, 5, True, 0)
    for way, steps in (("model", 5), ("fast", 1), ("raw", 1)):
        attempt(plan._replace(way=way if plan.name != "lstm" else "model", steps=steps))


def plan_of(number: int, seed: int) -> Plan:
    """The plan of a try; every mutation comes round in turn."""
    chance = Random(f"{seed} {number}")
    names = list(MUTATIONS)
    place = chance.randrange(len(CASES))
    if chance.random() < 0.5:  # half of all tries are at the sparse memories, where most is at risk
        place = chance.choice([p for p, (name, _) in enumerate(CASES) if name in SPARSE])
    name, _ = CASES[place]
    ways = ["model"] if name == "lstm" else ["model", "model", "cell", "fast"]
    if name in SPARSE:
        ways += ["memory", "raw"]
    return Plan(
        place,
        form=chance.choice(FORMS),
        mutation=names[number % len(names)],
        way=chance.choice(ways),
        history=chance.choice([0, 1, 2, 5, 12]),
        chunk=chance.choice([1, 3, 12]),
        loaded=name in SPARSE and chance.random() < 0.3,
        steps=chance.choice([1, 3, 20]),
        graph=chance.random() < 0.5,
        seed=chance.randrange(10**6),
    )


def attempt(plan: Plan) -> str:
    """Makes a try; returns how it ended.

    Raises:
        AssertionError: badly.
    """
    mutation = MUTATIONS[plan.mutation]
    scene = scene_of(plan, plan.form)
    legal = mutation.legal == "always" or (mutation.legal == "dense" and not plan.is_sparse)
    rows = _rows(mutation, plan)
    batch = mutation.batch or (ROWS if rows is None else len(rows))
    try:
        state = mutation.change(scene)
        if state is None or (plan.way in ("memory", "raw") and not hasattr(state, "memory")):
            return "no such part"
        found = run(plan, plan.form, state, batch)
    except (ShapeError, StaleStateError) as error:
        assert not legal, f"{plan}: refused what is legal: {error}"
        return f"refused: {type(error).__name__}"
    except Exception as error:
        raise AssertionError(f"{plan}: {type(error).__name__}: {error}") from error
    assert legal or (rows is not None and mutation.batch is None), f"{plan}: took what is illegal"
    return _compared(plan, mutation, rows, found)


def _rows(mutation: Mutation, plan: Plan) -> list[int] | None:
    """Which rows of the history the rows of the state are; None if all in order."""
    return None if mutation.rows is None else mutation.rows(Random(plan.seed))


def _compared(plan: Plan, mutation: Mutation, rows: list[int] | None, found: Any) -> str:
    """Compares with what is right; see the top of the file."""
    batch = ROWS if rows is None else len(rows)

    def wanted(form: Form) -> list[Tensor]:
        scene = scene_of(plan, form, rows)
        return run(plan, form, scene.state if rows is not None else mutation.change(scene), batch)

    if plan.form.dtype == torch.float64:
        _assert_close(plan, found, wanted(PLAIN), 1e-9)
        return "equal"
    try:
        _assert_close(plan, found[:1], wanted(PLAIN)[:1], 1e-3)
        return "equal"
    except AssertionError:
        _assert_close(plan, found[:1], wanted(plan.form)[:1], 1e-4)
        return "equal but for a tie"


def _assert_close(plan: Plan, found: list[Tensor], wanted: list[Tensor], atol: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            one.double(), other.double(), rtol=atol, atol=atol, msg=lambda m: f"{plan}: {m}"
        )


def scene_of(plan: Plan, form: Form, rows: list[int] | None = None) -> Scene:
    """A state after the plan's history, by a form; of rows of the history if there are some."""
    model = model_of(plan.place, form)
    picked = torch.arange(ROWS) if rows is None else torch.tensor(rows, dtype=torch.int64)
    words = {}
    if plan.loaded:
        size = model.cell.memory.word_size
        words = {"words": draw(plan.seed + 5, ROWS, 7, size, dtype=form.dtype)[picked]}

    def after(seed: int, steps: int) -> tuple[Any, Any, Any]:
        """States: used by the last step, a clone from before it, after it."""
        inputs = draw(seed, steps, ROWS, IN, dtype=form.dtype)[:, picked]
        state = model.initial_state(len(picked), **words)
        for part in inputs[:-1].split(plan.chunk):
            _, state = model(part, state)
        used, older = state, state.clone()
        return used, older, model(inputs[-1:], state)[1] if steps else model.initial_state(1)

    with torch.set_grad_enabled(plan.graph):
        used, older, state = after(plan.seed, plan.history)
        if plan.history == 0:
            state = model.initial_state(len(picked), **words)
            older = state.clone()
            used = model.initial_state(len(picked), **words)
            model(draw(9, 1, len(picked), IN, dtype=form.dtype), used)
        other = after(plan.seed + 1, 4)[2]
        larger = LARGER if plan.name != "lstm" else {"hidden_size": 14}
        stranger = model_of(plan.place, form, **larger)
        _, strange = stranger(draw(plan.seed + 2, 2, ROWS, IN, dtype=form.dtype))
    within = "memory" if plan.way in ("memory", "raw") else ""
    return Scene(state, used, older, other, strange, within, Random(plan.seed))


def run(plan: Plan, form: Form, state: Any, batch: int) -> list[Tensor]:
    """Outputs of the plan's steps, and with a graph the gradient of what went in."""
    model, seed = model_of(plan.place, form), plan.seed + 3
    of_memory = plan.way in ("memory", "raw")
    width = model.cell.interface.linear.out_features if of_memory else IN
    inputs = draw(seed, plan.steps, batch, width, dtype=form.dtype).requires_grad_(plan.graph)
    with torch.set_grad_enabled(plan.graph):
        if plan.way == "model":
            outputs, _ = model(inputs, state)
        else:
            parts, now = [], state.memory if of_memory else state
            for given in inputs:
                output, now = _stepped(plan.way, model.cell, given, now)
                parts.append(output)
            outputs = torch.stack(parts)
        if not plan.graph:
            return [outputs]
        (outputs * draw(seed + 1, *outputs.shape, dtype=form.dtype)).sum().backward()
    grad = inputs.grad
    return [outputs.detach(), torch.zeros_like(inputs) if grad is None else grad]


def _stepped(way: str, cell: Any, given: Tensor, state: Any) -> tuple[Tensor, Any]:
    """What a step puts out, and the next state."""
    if way in ("cell", "fast"):
        hidden, state = cell(given, state) if way == "cell" else take_step(cell, given, state)
        return torch.cat([hidden, state.reads], 1), state
    step = _fast_step if way == "raw" else _plain_step
    reads, state = step(cell, given, state)
    return reads.flatten(1), state


def _plain_step(cell: Any, given: Tensor, state: Any) -> tuple[Tensor, Any]:
    return cell.memory.step(cell.interface.squashed(given), state)


def _fast_step(cell: Any, given: Tensor, state: Any) -> tuple[Tensor, Any]:
    """The memory's step in its fastest form."""
    memory = cell.memory
    compiled = is_compiled(getattr(memory, "compiled", False), given.device, given.dtype)
    if isinstance(memory, SDNCMemory) and compiled:
        controls = cell.interface.squashed(given)
        return compiled_forms().linked_step.linked_step(memory, controls, state)
    if not isinstance(memory, SAMMemory) or not is_fusible(memory):
        return _plain_step(cell, given, state)
    memory.check_state(state, given)
    if compiled and has_current_shapes(memory, state):
        return compiled_forms().memory_step.compiled_step(memory, given.clone(), state, None)
    return fused_step(memory, cell.interface.squashed(given), state)
