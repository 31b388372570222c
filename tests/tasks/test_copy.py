"""Copy: channels by hand, and how long it takes."""

import pytest
import torch

from sam.errors import ConfigError
from sam.tasks import Copy


def test_channels_of_two_vectors_of_two_bits(generator: torch.Generator) -> None:
    batch = Copy(max_length=2, bits=2).sample(1, generator=generator, level=2)
    (a, b), (c, d) = batch.targets[3:, 0].tolist()
    expected_inputs = [[a, b, 0], [c, d, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert batch.inputs[:, 0].tolist() == expected_inputs
    assert batch.targets[:3, 0].tolist() == [[0, 0], [0, 0], [0, 0]]
    assert batch.mask[:, 0].tolist() == [False, False, False, True, True]
    assert batch.slices["length"].tolist() == [2]


@pytest.mark.parametrize("length", [1, 7, 20, 120])
def test_steps_and_scored_bits(length: int, generator: torch.Generator) -> None:
    batch = Copy().sample(3, generator=generator, level=length)
    assert batch.inputs.shape == (2 * length + 1, 3, 9)
    assert batch.targets.shape == (2 * length + 1, 3, 8)
    assert batch.mask.sum(0).tolist() == [length] * 3
    assert torch.equal(batch.inputs[:length, :, :8], batch.targets[length + 1 :])


def test_bits_are_fair_and_independent_between_sequences(generator: torch.Generator) -> None:
    bits = Copy().sample(2000, generator=generator, level=20).targets[21:]
    assert abs(float(bits.mean()) - 0.5) < 0.005
    assert not torch.equal(bits[:, 0], bits[:, 1])


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"min_length": 0}, "min_length"),
        ({"min_length": 21}, "min_length"),
        ({"max_length": 2.5}, "max_length"),
        ({"bits": 0}, "bits"),
        ({"bits": True}, "bits"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError, match=f"^{field}: expected .* got"):
        Copy(**settings)
