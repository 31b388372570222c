"""States and models: copies, use after use, and what a memory may offer beyond a step."""

import copy
import pickle

import torch

from sam.errors import ConfigError, ShapeError, StaleStateError
from sam.testing.subject import Subject, grad_of, raises, require


class Copies(Subject):
    """What can be done with a state, and with a model as a whole."""

    def test_copies_of_a_state_go_on_as_it_does(self) -> None:
        model, inputs = self.model(), self.inputs()
        expected = model(inputs)[0][5:]
        for name, copied in {
            "state.clone()": lambda state: state.clone(),
            "state.detach()": lambda state: state.detach(),
            'state.to("cpu")': lambda state: state.to("cpu"),
            "a deep copy of a state": lambda state: copy.deepcopy(state.detach()),
            "a pickled state": lambda state: pickle.loads(pickle.dumps(state.detach())),
        }.items():
            _, state = model(inputs[:5])
            found, _ = model(inputs[5:], copied(state))
            self.close(found, expected, f"{name} must go on as the state does")

    def test_a_clone_is_independent_and_keeps_the_graph(self) -> None:
        model, inputs = self.model(), self.inputs().requires_grad_()
        expected = torch.autograd.grad(model(inputs)[0][5:].sum() * 2, inputs)[0]
        _, state = model(inputs[:5])
        clone = state.clone()
        first, _ = model(inputs[5:], state)
        second, _ = model(inputs[5:], clone)
        self.close(second, first, "a clone must not change with the state it was made from")
        (first.sum() + second.sum()).backward()
        torch.testing.assert_close(grad_of(inputs), expected, rtol=1e-9, atol=self.tolerance)

    def test_rows_of_a_state_go_on_as_they_would_have(self) -> None:
        model, inputs = self.model(), self.inputs().requires_grad_()
        expected, _ = model(inputs)
        _, state = model(inputs[:5])
        try:
            rows = state.rows([2, 0])
        except ConfigError:
            return  # there is something in it that does not say how
        joined = state.cat([rows, state.rows([1, -1])])
        found, _ = model(inputs[5:, [2, 0, 1, 3]], joined)
        self.close(found, expected[5:, [2, 0, 1, 3]], "rows picked and joined must go on as before")
        found, _ = model(inputs[5:, [0, 2, 2, 3]], state.put([1, 0], rows))
        self.close(found, expected[5:, [0, 2, 2, 3]], "rows put into others must go on as before")
        weights = found.detach()
        gradient = torch.autograd.grad((found * weights).sum(), inputs)[0]
        (expected[5:, [0, 2, 2, 3]] * weights).sum().backward()
        torch.testing.assert_close(gradient, grad_of(inputs), rtol=1e-9, atol=self.tolerance)

    def test_detach_cuts_the_gradient(self) -> None:
        model, inputs = self.model(), self.inputs().requires_grad_()
        _, state = model(inputs[:5])
        model(inputs[5:], state.detach())[0].sum().backward()
        require(not grad_of(inputs)[:5].any(), "no gradient may flow through state.detach()")

    def test_copies_of_a_model_compute_the_same(self) -> None:
        model, inputs = self.model(), self.inputs()
        expected, _ = model(inputs)
        fresh = self.make_model().double()
        fresh.load_state_dict(model.state_dict())
        for name, other in {
            "a deep copy": copy.deepcopy(model),
            "a pickled model": pickle.loads(pickle.dumps(model)),
            "a new model with the state_dict": fresh,
        }.items():
            self.close(other(inputs)[0], expected, f"{name} must compute the same")

    def test_a_used_state_is_unchanged_or_refused(self) -> None:
        model, inputs = self.model(), self.inputs()
        _, state = model(inputs)
        kept = state.clone()
        expected, after = model(inputs, state)
        try:
            found, _ = model(inputs, state)
        except StaleStateError:
            pass
        else:
            what = "a state that is changed in place must raise StaleStateError when used again"
            self.close(found, expected, what)
        self.close(model(inputs, kept)[0], expected, "a clone must stay as it was")
        model(inputs, after)

    def test_wrong_states_are_refused(self) -> None:
        model, inputs = self.model(), self.inputs()
        with raises(ShapeError, "a state of another batch size"):
            model(inputs[:, 1:], model(inputs)[1])
        with raises(ShapeError, "a state of another type"):
            model(inputs, (inputs[0], inputs[0]))

    def test_a_trace_holds_the_weights_of_every_step(self) -> None:
        model, inputs = self.model(), self.inputs()
        expected, state = model(inputs)
        memory = getattr(state, "memory", None)
        if memory is None:
            return
        if not (hasattr(memory, "read_weights") and hasattr(memory, "write_weights")):
            with raises(ConfigError, "a trace of a memory without read and write weights"):
                model(inputs, trace=True)
            return
        outputs, state = model(inputs, trace=True)
        self.close(outputs, expected, "a trace must not change the outputs")
        for kind in ("read", "write"):
            last = getattr(state.memory, f"{kind}_weights")
            weights = getattr(state.trace, f"{kind}_weights")
            slots = getattr(state.trace, f"{kind}_slots")
            require(
                weights.shape[:2] == (self.steps, self.batch_size),
                f"traced {kind} weights must be [T, B, ...], got {[*weights.shape]}",
            )
            require(not weights.requires_grad, "a trace must have no graph")
            values = last if slots is None else last.values
            self.close(weights[-1], values.detach(), f"a trace must end with the last {kind}")

    def test_a_state_grows_or_says_that_it_cannot(self) -> None:
        model, inputs = self.model(), self.inputs().requires_grad_()
        _, state = model(inputs)
        if not hasattr(getattr(state, "memory", None), "resize"):
            with raises(ConfigError, "resize of a state that cannot grow"):
                state.resize(1000)
            return
        size = getattr(model.cell.memory, "memory_size", 0)
        require(size > 0, "a memory whose state has resize must have memory_size")
        with raises(ConfigError, "a size below the present one"):
            state.resize(size - 1)
        _, state = model(inputs)
        outputs, after = model(inputs * 0.5, state.resize(size + 20), starts=self.starts((2, 1)))
        outputs.sum().backward()
        grad = grad_of(inputs)
        require(bool(grad.isfinite().all() and grad.any()), "a grown state must keep its graph")
        later = inputs[2:, 1:2] * 0.5
        begins = torch.arange(len(later))[:, None] == 0
        alone, _ = model(later, model.initial_state(1).resize(size + 20), starts=begins)
        what = "an episode in a state that has grown must be as in a row of its own"
        self.close(outputs[2:, 1:2], alone, what)
        model(inputs, after)
