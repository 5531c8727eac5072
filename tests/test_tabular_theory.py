"""What losses do to a tabular policy: SPRec's Theorem 1, its limit, Eq. 2, Eq. 8, Fig. 2.

A policy is a softmax over items. The population loss sums over chosen items from p and rejected
ones from q, and gradient descent runs on our own loss functions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from bench.models.lm.train.preference_losses import dpo

UNIFORM = (1 / 3, 1 / 3, 1 / 3)


def table(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def losses(logits: Tensor, reference: Tensor, beta: float) -> Tensor:
    """The loss of every pair of items, chosen x rejected."""
    num = len(logits)
    delta = logits.log_softmax(0) - reference.log()
    chosen = delta.repeat_interleave(num)
    rejected = delta.repeat(num)[:, None]
    found = dpo(
        chosen,
        rejected,
        beta=beta,
        smoothing_B=torch.zeros(num * num),
        mask_BK=torch.ones(num * num, 1, dtype=torch.bool),
    )
    return found.view(num, num)


def least(objective: Callable[[Tensor], Tensor], start: Tensor, steps: int = 60) -> Tensor:
    """Follow the gradient to the least value; the policy there."""
    logits = start.log().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits],
        max_iter=steps * 10,
        tolerance_grad=1e-13,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = objective(logits)
        found.backward()
        return found

    optimizer.step(closure)
    return logits.detach().softmax(0)


def optimum(
    p: Sequence[float], q: Sequence[float], reference: Sequence[float], beta: float
) -> Tensor:
    weights = torch.outer(table(p), table(q))
    start = table(reference)
    return least(lambda logits: (weights * losses(logits, start, beta)).sum(), start)


@pytest.mark.parametrize(
    ("p", "q", "reference", "beta", "expected"),
    [
        ((0.6, 0.3, 0.1), UNIFORM, UNIFORM, 1.0, (0.6, 0.3, 0.1)),
        ((0.6, 0.3, 0.1), UNIFORM, UNIFORM, 0.5, (0.782609, 0.195652, 0.021739)),
        ((0.6, 0.3, 0.1), (0.5, 0.25, 0.25), (0.2, 0.5, 0.3), 1.0, (0.25, 0.625, 0.125)),
        ((0.6, 0.3, 0.1), (0.5, 0.25, 0.25), (0.2, 0.5, 0.3), 0.5, (0.272727, 0.681818, 0.045455)),
        ((0.6, 0.3, 0.1), (0.6, 0.3, 0.1), UNIFORM, 1.0, UNIFORM),
        ((0.6, 0.3, 0.1), (0.6, 0.3, 0.1), (0.2, 0.5, 0.3), 1.0, (0.2, 0.5, 0.3)),
    ],
)
def test_theorem_1(p, q, reference, beta, expected) -> None:
    torch.testing.assert_close(optimum(p, q, reference, beta), table(expected), atol=2e-6, rtol=0)


def test_its_limit_is_one_item() -> None:
    """As beta falls, all mass goes where p / q is largest, which need not be where p is."""
    p, q = (0.5, 0.3, 0.2), (0.6, 0.2, 0.2)
    shares = [optimum(p, q, UNIFORM, beta)[1] for beta in (1.0, 0.3, 0.1, 0.05)]
    assert all(one < other for one, other in itertools.pairwise(shares))
    assert float(shares[-1]) == pytest.approx(1, abs=1e-3)


def test_equation_8_self_play_weights_uniform_negatives() -> None:
    """Rejecting what the policy writes is rejecting items from q, weighted by policy over q."""
    p, q = table((0.4, 0.3, 0.2, 0.1)), table((0.25,) * 4)
    written = table((0.7, 0.1, 0.15, 0.05))
    found = []
    for rejected in (written, q):
        logits = table((0.3, -0.2, 0.5, 0.0)).requires_grad_()
        weights = 1.0 if rejected is written else written / q
        value = (torch.outer(p, rejected) * weights * losses(logits, written, 0.1)).sum()
        (gradient,) = torch.autograd.grad(value, logits)
        found.append((value.detach(), gradient))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)
    logits = table((0.3, -0.2, 0.5, 0.0))
    uniform = (torch.outer(p, q) * losses(logits, written, 0.1)).sum()
    assert abs(uniform - found[0][0]) > 1e-3


def test_equation_8_by_drawing() -> None:
    """Pairs as training sees them: drawn from the policy, or uniformly and weighted."""
    p, written = table((0.4, 0.3, 0.2, 0.1)), table((0.7, 0.1, 0.15, 0.05))
    each = losses(table((0.3, -0.2, 0.5, 0.0)), written, 1.0)
    draws = torch.Generator().manual_seed(0)
    chosen, own = (torch.multinomial(x, 400_000, True, generator=draws) for x in (p, written))
    uniform = torch.randint(4, (400_000,), generator=draws)
    weighted = (written[uniform] / 0.25 * each[chosen, uniform]).mean()
    assert float(each[chosen, own].mean()) == pytest.approx(float(weighted), rel=5e-3)


def test_fine_tuning_covers_and_preferences_seek_the_peak() -> None:
    """Eq. 2, Fig. 2: forward KL is least at p itself; DPO below beta 1 goes for its peak."""
    p = table((0.35, 0.3, 0.02, 0.13, 0.2))
    even = table((0.2,) * 5)
    peaked = partial(optimum, p.tolist(), even.tolist(), even.tolist())
    tuned = least(lambda logits: -(p * logits.log_softmax(0)).sum(), even)
    torch.testing.assert_close(tuned, p, atol=1e-6, rtol=0)
    torch.testing.assert_close(peaked(1.0), p, atol=2e-6, rtol=0)
    sharp = peaked(0.1)
    assert sharp.argmax() == p.argmax()
    assert float(sharp[0]) > 0.8
    assert float(sharp[2]) < 1e-6

    def regularized(policy: Tensor) -> float:
        """What Eq. 3 has greatest: the mean reward, less beta times the reverse KL."""
        reward = (p / even).log()
        pull = policy.log() - even.log()
        return float((policy * (reward - 0.1 * pull)).sum())

    noise = torch.Generator().manual_seed(1)
    nearby = [
        (sharp.log() + 0.1 * torch.randn(5, generator=noise, dtype=torch.float64)).softmax(0)
        for _ in range(50)
    ]
    assert all(regularized(sharp) > regularized(other) for other in [tuned, even, *nearby])
