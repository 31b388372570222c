"""A model inside the trainers that people bring along: accelerate and Lightning Fabric."""

from typing import Any

import pytest
import torch

from sam import SAM

WARNINGS = pytest.mark.filterwarnings("ignore")  # of packages that are not ours


def batches() -> torch.utils.data.DataLoader:
    """Eight sequences of five steps, [B, T, I], whose last inputs are the targets."""
    inputs = torch.randn(8, 5, 4, generator=torch.Generator().manual_seed(1))
    data = torch.utils.data.TensorDataset(inputs, inputs[..., :2].cumsum(1))
    return torch.utils.data.DataLoader(data, batch_size=4)


def make_model() -> SAM:
    torch.manual_seed(0)
    return SAM(4, 2, hidden_size=12, memory_size=64, word_size=6, batch_first=True)


def expected() -> dict[str, torch.Tensor]:
    """Parameters after the same updates by hand."""
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for inputs, targets in batches():
        loss = (model(inputs)[0] - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.state_dict()


def assert_trained(model: Any) -> None:
    torch.testing.assert_close(dict(model.state_dict()), expected(), rtol=1e-4, atol=1e-5)


@WARNINGS
def test_accelerate() -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model, optimizer, loader = accelerator.prepare(model, optimizer, batches())
    for inputs, targets in loader:
        outputs, _ = model(inputs)
        loss = (outputs - targets).square().mean()
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
    assert_trained(accelerator.unwrap_model(model))


@WARNINGS
def test_lightning_fabric() -> None:
    lightning_fabric = pytest.importorskip("lightning_fabric")
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model, optimizer = fabric.setup(model, optimizer)
    for inputs, targets in fabric.setup_dataloaders(batches()):
        outputs, _ = model(inputs)
        loss = (outputs - targets).square().mean()
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
    assert_trained(model.module)
