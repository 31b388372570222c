"""One call: shapes, batch rows, bad inputs, gradients and dtypes."""

import torch

from sam.errors import NonFiniteError, ShapeError
from sam.testing.subject import Subject, raises, require


class Calls(Subject):
    """What one call of a model does."""

    def test_a_call_returns_outputs_and_a_state(self) -> None:
        outputs, state = self.model()(self.inputs())
        require(
            outputs.shape == (self.steps, self.batch_size, self.output_size),
            f"outputs must have the shape [T, B, O], got {[*outputs.shape]}",
        )
        require(bool(outputs.isfinite().all()), "outputs must be finite")
        require(state.nbytes > 0, "a state must say how many bytes it holds")
        require(state.trace is None, "a state must have trace None unless one is asked for")
        again, _ = self.model()(self.inputs())
        require(torch.equal(outputs, again), "two calls from the same start must agree")

    def test_an_empty_sequence_gives_empty_outputs(self) -> None:
        model = self.model()
        outputs, state = model(self.inputs(0))
        require(
            outputs.shape == (0, self.batch_size, self.output_size),
            f"outputs of no steps must have the shape [0, B, O], got {[*outputs.shape]}",
        )
        found, expected = model(self.inputs(), state)[0], model(self.inputs())[0]
        self.close(found, expected, "a state after no steps must be an initial state")

    def test_batch_rows_are_independent(self) -> None:
        model, inputs = self.model(), self.inputs()
        outputs, _ = model(inputs)
        order = torch.tensor([2, 0, 3, 1])
        found, _ = model(inputs[:, order])
        self.close(found, outputs[:, order], "permuted batch rows must give permuted outputs")
        inputs[:, 0] += 1
        found, _ = model(inputs)
        self.close(found[:, 1:], outputs[:, 1:], "a batch row must not change the others")

    def test_batch_first_is_a_transpose(self) -> None:
        model, inputs = self.model(), self.inputs()
        expected, _ = model(inputs, starts=self.starts((3, 1)))
        if not hasattr(model, "batch_first"):
            return
        model.batch_first = True
        found, _ = model(inputs.transpose(0, 1), starts=self.starts((3, 1)).T)
        self.close(found.transpose(0, 1), expected, "batch_first must transpose, nothing else")

    def test_wrong_inputs_are_refused(self) -> None:
        model, inputs = self.model(), self.inputs()
        for wrong in (inputs[..., 1:], inputs[0, 0], inputs.float(), [1.0]):
            with raises(ShapeError, "inputs of another shape, dtype or type"):
                model(wrong)
        with raises(NonFiniteError, "inputs that are NaN"):
            model(inputs.log())
        with raises(ShapeError, "starts of another batch size"):
            model(inputs, starts=self.starts()[:, 1:])
        with raises(ShapeError, "starts that are not bool"):
            model(inputs, starts=self.starts().double())

    def test_every_parameter_gets_a_finite_gradient(self) -> None:
        model = self.model()
        model(self.inputs())[0].square().sum().backward()
        for name, parameter in model.named_parameters():
            grad = parameter.grad
            require(grad is not None, f"{name} must get a gradient")
            require(bool(grad.isfinite().all()), f"the gradient of {name} must be finite")
            require(bool(grad.any()), f"the gradient of {name} must not be zero")

    def test_float32_agrees_with_float64(self) -> None:
        wide, _ = self.model()(self.inputs())
        narrow, _ = self.model(torch.float32)(self.inputs().float())
        require(narrow.dtype == torch.float32, "a float32 model must have float32 outputs")
        torch.testing.assert_close(narrow.double(), wide, rtol=0, atol=1e-4)

    def test_autocast_runs_and_stays_close(self) -> None:
        model, inputs = self.model(torch.float32), self.inputs().float()
        expected, _ = model(inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs, _ = model(inputs)
        require(bool(outputs.isfinite().all()), "outputs under autocast must be finite")
        torch.testing.assert_close(outputs[0].float(), expected[0], rtol=0, atol=0.05)
        outputs.float().sum().backward()

    def test_inference_agrees_with_training(self) -> None:
        model, inputs = self.model(), self.inputs()
        expected, _ = model(inputs)
        with torch.no_grad():
            outputs, state = model(inputs)
            more, _ = model(inputs, state)
        self.close(outputs, expected.detach(), "no_grad must not change the outputs")
        require(not more.requires_grad, "outputs under no_grad must have no graph")
        with torch.inference_mode():
            outputs, _ = model(inputs)
        self.close(outputs, expected.detach(), "inference_mode must not change the outputs")
