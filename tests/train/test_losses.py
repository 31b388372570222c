"""Losses and errors, counted by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from sam.errors import ConfigError, ShapeError
from sam.tasks import make_task
from sam.tasks.task import Batch
from sam.train.losses import score

BITS = SimpleNamespace(kind="bits", output_size=2)
CLASSES = SimpleNamespace(kind="classes", output_size=3)


class Questions(SimpleNamespace):
    """Steps 1 and 2 are one question, step 3 is another."""

    kind, output_size = "classes", 3

    def question_ids(self, batch: Batch) -> torch.Tensor:
        return torch.tensor([-1, 0, 0, 1]).unsqueeze(1).expand(4, batch.mask.shape[1])


def bits_batch() -> Batch:
    """T = 2, B = 2, O = 2; the first sequence has one scored step, the second has two."""
    return Batch(
        inputs=torch.zeros(2, 2, 1),
        targets=torch.tensor([[[0.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 1.0]]]),
        mask=torch.tensor([[False, True], [True, True]]),
        slices={},
    )


def test_bits_by_hand() -> None:
    # p = 3/4 has the logit log 3: right bits cost log2(4/3), wrong ones 2 bits.
    logit = math.log(3)
    outputs = torch.tensor([[[99.0, 99.0], [logit, -logit]], [[-logit, -logit], [logit, -logit]]])
    scores = score(outputs.requires_grad_(), bits_batch(), BITS)
    right = math.log2(4 / 3)
    torch.testing.assert_close(scores.bits, torch.tensor([right + 2, 3 * right + 2]))
    assert scores.wrong.tolist() == [1, 1]
    assert scores.targets.tolist() == [2, 4]
    assert scores.loss.item() == pytest.approx((4 * right + 4) * math.log(2) / 2)
    assert scores.error("bits") == 1.0
    scores.loss.backward()
    assert outputs.grad is not None
    # Unscored steps get no gradient; a scored wrong bit gets p / 2, of two sequences.
    assert outputs.grad[0, 0].tolist() == [0.0, 0.0]
    assert outputs.grad[1, 0, 0].item() == pytest.approx(-0.75 / 2)


def test_unscored_steps_may_hold_anything() -> None:
    batch = bits_batch()
    outputs = torch.randn(2, 2, 2)
    spoilt = outputs.clone()
    spoilt[0, 0] = math.inf
    clean, same = score(outputs, batch, BITS), score(spoilt, batch, BITS)
    assert clean.bits.equal(same.bits)
    assert clean.loss == same.loss


def classes_batch(targets: list[list[int]]) -> Batch:
    mask = torch.tensor([[False], [True], [True], [True]]).expand(4, 2)
    return Batch(torch.zeros(4, 2, 1), torch.tensor(targets).T.contiguous(), mask, {})


def test_classes_by_hand() -> None:
    batch = classes_batch([[-1, 0, 1, 2], [-1, 0, 0, 0]])
    outputs = torch.zeros(4, 2, 3)  # log 3 nats a step
    outputs[:, :, 0] = 1e-4  # so that class 0 is answered everywhere
    scores = score(outputs, batch, CLASSES)
    torch.testing.assert_close(scores.bits, torch.full((2,), 3 * math.log2(3)), rtol=1e-3, atol=0)
    assert scores.loss.item() == pytest.approx(3 * math.log(3), rel=1e-3)
    assert scores.wrong.tolist() == [2, 0]
    assert scores.targets.tolist() == [3, 3]
    assert scores.error("classes") == pytest.approx(2 / 6)


def test_a_question_is_right_only_if_all_its_words_are() -> None:
    batch = classes_batch([[-1, 0, 1, 0], [-1, 0, 0, 2]])
    outputs = torch.zeros(4, 2, 3)
    outputs[:, :, 0] = 1.0
    scores = score(outputs, batch, Questions())
    # The first misses a word of question 0, the second the only word of question 1.
    assert scores.wrong.tolist() == [1, 1]
    assert scores.targets.tolist() == [2, 2]
    assert scores.error("classes") == 0.5


def test_the_loss_of_an_untrained_guess_is_one_bit_per_bit() -> None:
    task = make_task("copy")
    batch = task.sample(4, generator=torch.Generator().manual_seed(0), level=5)
    scores = score(torch.zeros(11, 4, 8), batch, task)
    torch.testing.assert_close(scores.bits, torch.full((4,), 40.0))
    assert scores.targets.tolist() == [40] * 4


def test_outputs_of_another_width_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"outputs: expected shape \[T=2, B=2, O=2\]"):
        score(torch.zeros(2, 2, 3), bits_batch(), BITS)


def test_a_batch_without_scored_steps_is_refused() -> None:
    batch = bits_batch()._replace(mask=torch.zeros(2, 2, dtype=torch.bool))
    with pytest.raises(ShapeError, match="at least one scored step"):
        score(torch.zeros(2, 2, 2), batch, BITS)


def values_batch() -> Batch:
    """T = 2, B = 2, O = 2; the first sequence has one scored step, the second has two."""
    targets = torch.tensor([[[0.0, math.nan], [1.0, 0.0]], [[1.0, 0.0], [1.0, 5.0]]])
    return bits_batch()._replace(targets=targets)


def test_values_by_hand() -> None:
    task = SimpleNamespace(kind="values", output_size=2)
    outputs = torch.tensor([[[7.0, 7.0], [1.0, 2.0]], [[0.0, 0.0], [1.0, 1.0]]])
    scores = score(outputs.requires_grad_(), values_batch(), task)
    # Errors: 1 and 0; 0, 2, 0 and 4.
    assert scores.bits.tolist() == [0.5, 5.0]
    assert scores.wrong.tolist() == [1.0, 20.0] and scores.targets.tolist() == [2, 4]
    assert scores.loss.item() == 2.75
    assert scores.error("values") == pytest.approx(math.sqrt(21 / 6))
    scores.loss.backward()
    assert outputs.grad is not None and outputs.grad[0, 0].tolist() == [0.0, 0.0]
    assert outputs.grad[1, 1].tolist() == [0.0, -1.0]


def test_large_errors_count_linearly_in_the_huber_loss() -> None:
    task = SimpleNamespace(kind="values", output_size=2, loss="huber", huber_delta=1.0)
    outputs = torch.tensor([[[7.0, 7.0], [1.0, 2.0]], [[0.0, 0.0], [1.0, 1.0]]])
    scores = score(outputs, values_batch(), task)
    assert scores.bits.tolist() == [0.5 / 2, (1.5 + 3.5) / 4]
    assert scores.wrong.tolist() == [1.0, 20.0]
    wrong = SimpleNamespace(kind="values", output_size=2, loss="mae")
    with pytest.raises(ConfigError, match=r"task\.loss: expected 'mse' or 'huber', got 'mae'"):
        score(outputs, values_batch(), wrong)


def test_tokens_are_classes_told_by_the_token() -> None:
    task = SimpleNamespace(kind="tokens", output_size=3)
    outputs = torch.randn(4, 2, 3)
    mask = torch.tensor([[True, False], [True, True], [False, False], [True, True]])
    batch = Batch(torch.zeros(4, 2, 1), torch.randint(3, (4, 2)), mask, {})
    tokens, classes = score(outputs, batch, task), score(outputs, batch, CLASSES)
    torch.testing.assert_close(tokens.bits, classes.bits / torch.tensor([3, 2]))
    assert tokens.wrong.equal(classes.wrong) and tokens.targets.tolist() == [3, 2]
    assert tokens.error("tokens") == pytest.approx(tokens.bits.mean().item())
    assert tokens.per_target("tokens") == pytest.approx(tokens.error("tokens"))


def test_an_unknown_kind_is_named() -> None:
    task = SimpleNamespace(kind="words", output_size=2)
    with pytest.raises(ConfigError, match=r"task\.kind: expected one of bits, classes, tokens"):
        score(torch.zeros(2, 2, 2), bits_batch(), task)


def test_a_loss_per_target_has_the_same_scores_and_a_mean_in_place_of_a_sum() -> None:
    outputs = torch.randn(2, 2, 2)
    usual, mean = (score(outputs, bits_batch(), BITS, per_target=way) for way in (False, True))
    assert mean.loss.item() == pytest.approx((usual.bits / usual.targets).mean() * math.log(2))
    assert mean.loss < usual.loss
    for one, other in zip(usual[1:], mean[1:], strict=True):
        assert torch.equal(one, other)
    task = SimpleNamespace(kind="values", output_size=2)
    same = [score(outputs, values_batch(), task, per_target=way).loss for way in (False, True)]
    assert same[0] == same[1], "it is a mean already"


def test_a_loss_per_target_does_not_grow_with_the_length() -> None:
    task = make_task("copy")
    for level in (5, 50):
        batch = task.sample(4, generator=torch.Generator().manual_seed(0), level=level)
        outputs = torch.zeros(2 * level + 1, 4, 8)
        assert score(outputs, batch, task, per_target=True).loss.item() == pytest.approx(
            math.log(2)
        )
