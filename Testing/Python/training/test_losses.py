"""Losses: each is what its paper says, linear in the targets, and honest about probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from medimg_training.losses import Loss, focal, loss_of, ranked_probability_score
from medimg_training.recipe import Recipe

CPU = torch.device("cpu")
COUNTS = np.array([30.0, 10.0, 5.0, 15.0])


def made(counts: np.ndarray = COUNTS, **choices: Any) -> Loss:
    return loss_of(Recipe.of("sgd", "resnet18", **choices), counts, CPU)


def batch(n: int = 64) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    return torch.randn(n, 4, generator=random) * 3, torch.randint(4, (n,), generator=random)


def hard(labels: Tensor) -> Tensor:
    return one_hot(labels, 4).float()


def gradient(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits)[0]


def mean(loss: Loss, logits: Tensor, targets: Tensor) -> Tensor:
    return loss(logits, targets) / loss.weight(targets)


@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torch_s(weights: str, smoothing: float) -> None:
    logits, labels = batch()
    logits.requires_grad_()
    expected_weights = torch.tensor(60 / (4 * COUNTS)).float() if weights == "balanced" else torch.ones(4)
    expected = cross_entropy(logits, labels, expected_weights, label_smoothing=smoothing)
    found = mean(made(class_weights=weights, label_smoothing=smoothing), logits, hard(labels))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    pair = gradient(found, logits), gradient(expected, logits)
    assert torch.allclose(*pair, rtol=1e-5, atol=1e-9)
    if weights == "none":  # what the shipped bundle was trained with
        assert torch.equal(*pair)


def test_focal_loss_is_the_paper_s_formula_and_cross_entropy_without_focus() -> None:
    logits, labels = batch()
    p = logits.double().softmax(1)[torch.arange(64), labels]
    expected = (-((1 - p) ** 2.5) * p.log()).mean()
    assert mean(made(loss="focal", focal_gamma=2.5), logits, hard(labels)).item() == pytest.approx(float(expected))
    plain = mean(made(loss="focal", focal_gamma=0.0), logits, hard(labels))
    assert plain.item() == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_has_a_gradient_where_the_network_is_perfectly_sure(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0, 0, 0], [0.0, 200, 0, 0]], requires_grad=True)
    slope = gradient((focal(logits, gamma) * hard(torch.tensor([0, 0]))).sum(), logits)
    assert torch.isfinite(slope).all()
    assert slope[0].abs().max() < 1e-3 and slope[1, 0] == pytest.approx(-1, abs=1e-3)


def test_the_ordinal_loss_is_the_ranked_probability_score() -> None:
    logits, _ = batch(5)
    p = logits.double().softmax(1).numpy()
    for truth in range(4):
        expected = [sum((row[: k + 1].sum() - (truth <= k)) ** 2 for k in range(3)) / 3 for row in p]
        assert ranked_probability_score(logits)[:, truth].tolist() == pytest.approx(expected, abs=1e-6)


def test_in_the_ordinal_loss_a_far_miss_costs_more_than_a_near_one() -> None:
    sure = torch.eye(4) * 50
    costs = ranked_probability_score(sure)
    assert costs[0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-6)
    assert torch.allclose(costs, costs.T, atol=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "ordinal"])
def test_a_proper_loss_is_least_at_the_true_probabilities(name: str) -> None:
    truth = torch.tensor([[0.5, 0.1, 0.1, 0.3]])
    logits = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-12)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = made(loss=name)(logits, truth)
        torch.autograd.backward(value)
        return value

    optimizer.step(closure)
    assert logits.softmax(1)[0].tolist() == pytest.approx(truth[0].tolist(), abs=2e-3)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "ordinal"])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_losses_are_linear_in_the_targets_and_add_up_over_parts(name: str, weights: str) -> None:
    loss = made(loss=name, class_weights=weights, label_smoothing=0.1)
    logits, labels = batch()
    one, other = hard(labels), hard(labels.roll(1))
    mixed = 0.3 * one + 0.7 * other
    between = 0.3 * loss(logits, one) + 0.7 * loss(logits, other)
    assert loss(logits, mixed).item() == pytest.approx(between.item(), rel=1e-5)
    parts = sum(loss(x, y) for x, y in zip(logits.split(20), mixed.split(20), strict=True))
    assert loss(logits, mixed).item() == pytest.approx(float(parts), rel=1e-5)
    assert loss.weight(mixed).item() == pytest.approx(sum(loss.weight(y).item() for y in mixed.split(20)), rel=1e-5)


def test_logit_adjustment_takes_the_classes_frequencies_out_of_what_is_learned() -> None:
    """A network that sees nothing learns the logarithms of the frequencies; adjusted by them it learns nothing."""
    labels = torch.arange(4).repeat_interleave(torch.tensor(COUNTS).long())
    learned = {}
    for tau in (0.0, 1.0):
        bias = torch.zeros(1, 4, requires_grad=True)
        optimizer = torch.optim.LBFGS([bias], max_iter=100, tolerance_grad=1e-9)
        loss = made(logit_adjustment=tau)

        def closure(bias: Tensor = bias, loss: Loss = loss, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            value = mean(loss, bias.expand(60, 4), hard(labels))
            torch.autograd.backward(value)
            return value

        optimizer.step(closure)
        learned[tau] = bias.softmax(1)[0].tolist()
    assert learned[0.0] == pytest.approx((COUNTS / 60).tolist(), abs=1e-3)
    assert learned[1.0] == pytest.approx([0.25] * 4, abs=1e-3)
