"""Two claims that need no data (S-28, S-29), on a tabular policy in exact expectation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

Vector = NDArray[np.float64]

NUM_ITEMS = 7
POPULARITY = np.array([0.30, 0.22, 0.16, 0.12, 0.09, 0.07, 0.04])


def softmax(logits: Vector) -> Vector:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def loss(
    logits: Vector, reference: Vector, chosen: Vector, weights: Vector, beta: float
) -> tuple[float, Vector]:
    """DPO's expected loss and gradient; `weights` are of the rejected items, not normalized."""
    policy = softmax(logits)
    reward = beta * (np.log(policy) - np.log(reference))
    margin = reward[:, None] - reward[None, :]
    pairs = chosen[:, None] * weights[None, :]
    value = float((pairs * np.log1p(np.exp(-margin))).sum())
    slope = -pairs / (1 + np.exp(margin)) * beta
    # The log-partition cancels between chosen and rejected.
    return value, np.asarray(slope.sum(axis=1) - slope.sum(axis=0))


def optimum(chosen: Vector, rejected: Vector, reference: Vector, beta: float) -> Vector:
    return softmax(np.log(reference) + (np.log(chosen) - np.log(rejected)) / beta)


UNIFORM = np.full(NUM_ITEMS, 1 / NUM_ITEMS)


@pytest.mark.parametrize("beta", [1.0, 0.3, 0.1])
def test_s28_the_closed_form_is_a_stationary_point(beta: float) -> None:
    rng = np.random.default_rng(0)
    reference = softmax(rng.standard_normal(NUM_ITEMS))
    negatives = softmax(rng.standard_normal(NUM_ITEMS))
    best = optimum(POPULARITY, negatives, reference, beta)
    value, gradient = loss(np.log(best), reference, POPULARITY, negatives, beta)
    assert np.abs(gradient).max() < 1e-12
    for _ in range(20):
        other = np.log(best) + 0.1 * rng.standard_normal(NUM_ITEMS)
        assert loss(other, reference, POPULARITY, negatives, beta)[0] >= value


def test_s28_a_small_beta_leaves_only_the_most_popular_item() -> None:
    found = [optimum(POPULARITY, UNIFORM, UNIFORM, beta) for beta in (1.0, 0.5, 0.2, 0.1, 0.01)]
    entropies = [-float((one * np.log(np.maximum(one, 1e-300))).sum()) for one in found]
    assert entropies == sorted(entropies, reverse=True)
    assert found[0] == pytest.approx(POPULARITY)
    shares = [one[0] for one in found]
    assert shares == sorted(shares)
    assert shares[-1] > 1 - 1e-10


def pair_by_pair(
    logits: Vector, reference: Vector, negatives: Vector, weights: Vector, beta: float
) -> tuple[float, Vector]:
    """Eq. 8's right side, one pair at a time: draw from `negatives`, weigh each pair."""
    policy = softmax(logits)
    value, gradient = 0.0, np.zeros(NUM_ITEMS)
    for chosen, p in enumerate(POPULARITY):
        for rejected, q in enumerate(negatives):
            odds = (policy[chosen] * reference[rejected]) / (policy[rejected] * reference[chosen])
            preferred = 1 / (1 + odds**-beta)
            share = p * q * weights[rejected]
            value -= share * np.log(preferred)
            gradient[chosen] -= share * beta * (1 - preferred)
            gradient[rejected] += share * beta * (1 - preferred)
    return float(value), gradient


def test_s29_self_play_is_uniform_negatives_with_weights() -> None:
    rng = np.random.default_rng(1)
    logits, start = rng.standard_normal((2, NUM_ITEMS))
    reference = current = softmax(start)  # π_θt, which self-play draws its negatives from
    beta = 0.4
    value, gradient = loss(logits, reference, POPULARITY, current, beta)
    right, slope = pair_by_pair(logits, reference, UNIFORM, current / UNIFORM, beta)
    assert right == pytest.approx(value, abs=1e-10)
    assert slope == pytest.approx(gradient, abs=1e-10)
    unweighted, other = pair_by_pair(logits, reference, UNIFORM, np.ones(NUM_ITEMS), beta)
    assert abs(unweighted - value) > 1e-3
    assert np.abs(other - gradient).max() > 1e-3


def test_the_gradient_is_that_of_the_loss() -> None:
    rng = np.random.default_rng(2)
    logits, start = rng.standard_normal((2, NUM_ITEMS))
    reference = softmax(start)
    _, gradient = loss(logits, reference, POPULARITY, UNIFORM, 0.4)
    step = 1e-6
    for item in range(NUM_ITEMS):
        nudge = step * np.eye(NUM_ITEMS)[item]
        up = loss(logits + nudge, reference, POPULARITY, UNIFORM, 0.4)[0]
        down = loss(logits - nudge, reference, POPULARITY, UNIFORM, 0.4)[0]
        assert (up - down) / (2 * step) == pytest.approx(gradient[item], abs=1e-8)
