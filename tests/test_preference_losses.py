"""Preference losses: the worked table, first steps, identities, what leaves them unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import BenchError
from bench.models.lm.train.preference_losses import (
    LOSSES,
    dmpo,
    dmpo_sum,
    dpo,
    resolve_loss,
    rosepo,
    sdpo,
)

CHOSEN = -5.0 + 5.5
REJECTED = (-6.0 + 6.2, -7.0 + 6.4, -4.5 + 5.0)

deltas = st.floats(-5, 5)
several = st.lists(deltas, min_size=1, max_size=5)
betas = st.floats(0.01, 3)
few = settings(max_examples=25)


def value(
    loss: Callable[..., Tensor],
    chosen: float,
    rejected: Sequence[float],
    *,
    beta: float = 1.0,
    smoothing: float = 0.0,
    mask: Sequence[bool] | None = None,
) -> float:
    found = loss(
        torch.tensor([chosen], dtype=torch.float64),
        torch.tensor([rejected], dtype=torch.float64),
        beta=beta,
        smoothing_B=torch.tensor([smoothing], dtype=torch.float64),
        mask_BK=torch.tensor([mask or [True] * len(rejected)]),
    )
    assert found.shape == (1,)
    return float(found)


@pytest.mark.parametrize(
    ("loss", "rejected", "small", "large", "smoothing"),
    [
        (dpo, REJECTED[:1], 0.678260, 0.554355, 0.0),
        (dpo, REJECTED[1:2], 0.639659, 0.287335, 0.0),
        (dpo, REJECTED[2:], 0.693147, 0.693147, 0.0),
        (sdpo, REJECTED[:1], 0.678260, 0.554355, 0.0),
        (sdpo, REJECTED, 1.352293, 1.122879, 0.0),
        (dmpo, REJECTED, 0.670086, 0.486793, 0.0),
        (dmpo_sum, REJECTED, 0.625595, 0.220417, 0.0),
        (rosepo, REJECTED[:1], 0.684260, 0.614355, 0.2),
    ],
)
def test_the_worked_table(loss, rejected, small, large, smoothing) -> None:
    found = [value(loss, CHOSEN, rejected, beta=beta, smoothing=smoothing) for beta in (0.1, 1)]
    assert found == pytest.approx([small, large], abs=5e-7)


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_the_first_step(beta: float) -> None:
    assert value(sdpo, 0, [0, 0, 0], beta=beta) == pytest.approx(1.386294, abs=5e-7)
    for loss in (dmpo, dmpo_sum):
        assert value(loss, 0, [0, 0, 0], beta=beta) == pytest.approx(math.log(2), abs=1e-12)
    for loss in LOSSES.values():
        assert value(loss, 0, [0], beta=beta, smoothing=0.2) == pytest.approx(math.log(2))


@few
@given(deltas, deltas, betas)
def test_with_one_rejected_response_all_are_dpo(
    chosen: float, rejected: float, beta: float
) -> None:
    expected = value(dpo, chosen, [rejected], beta=beta)
    for loss in LOSSES.values():
        assert value(loss, chosen, [rejected], beta=beta) == pytest.approx(expected, rel=1e-12)


@few
@given(deltas, several, betas, st.randoms())
def test_the_order_of_the_rejected_changes_nothing(chosen, rejected, beta, random) -> None:
    shuffled = random.sample(rejected, len(rejected))
    for loss in (sdpo, dmpo, dmpo_sum):
        before = value(loss, chosen, rejected, beta=beta)
        assert value(loss, chosen, shuffled, beta=beta) == pytest.approx(before, rel=1e-9)


@few
@given(deltas, several, betas)
def test_what_the_mask_hides_changes_nothing(chosen, rejected, beta) -> None:
    mask = [*[True] * len(rejected), False, False]
    for loss in (sdpo, dmpo, dmpo_sum):
        before = value(loss, chosen, rejected, beta=beta)
        padded = value(loss, chosen, [*rejected, 3.0, -50.0], beta=beta, mask=mask)
        assert padded == pytest.approx(before, rel=1e-12)


@few
@given(deltas, deltas, betas, st.integers(1, 6))
def test_a_response_rejected_several_times(chosen, rejected, beta, times) -> None:
    once = value(dmpo, chosen, [rejected], beta=beta)
    assert value(dmpo, chosen, [rejected] * times, beta=beta) == pytest.approx(once, rel=1e-9)
    stronger = value(dmpo, chosen, [rejected], beta=beta * times)
    summed = value(dmpo_sum, chosen, [rejected] * times, beta=beta)
    assert summed == pytest.approx(stronger, rel=1e-9)
    odds = times * math.exp(beta * (rejected - chosen))
    found = value(sdpo, chosen, [rejected] * times, beta=beta)
    assert found == pytest.approx(math.log1p(odds), rel=1e-9)


@few
@given(deltas, several, betas)
def test_sdpo_is_no_less_than_dpo_with_any_rejected_response(chosen, rejected, beta) -> None:
    whole = value(sdpo, chosen, rejected, beta=beta)
    assert all(whole >= value(dpo, chosen, [one], beta=beta) - 1e-12 for one in rejected)
    hopeless = value(sdpo, chosen, [*rejected, -1e6], beta=beta)
    assert hopeless == pytest.approx(whole, rel=1e-12)


def test_nothing_overflows() -> None:
    far = torch.tensor([-1e4], dtype=torch.float64, requires_grad=True)
    none = {"smoothing_B": torch.zeros(1), "mask_BK": torch.ones(1, 2, dtype=torch.bool)}
    rejected = torch.tensor([[1e4, 1e4 - 1]], dtype=torch.float64)
    found = sdpo(far, rejected, beta=1.0, **none).sum()
    assert found.item() == pytest.approx(2e4 + math.log1p(math.exp(-1)))
    (gradient,) = torch.autograd.grad(found, far)
    assert gradient.item() == pytest.approx(-1, abs=1e-9)


def test_a_masked_response_has_no_gradient() -> None:
    for loss in (sdpo, dmpo, dmpo_sum):
        rejected = torch.zeros(1, 2, requires_grad=True)
        found = loss(
            torch.zeros(1),
            rejected,
            beta=1.0,
            smoothing_B=torch.zeros(1),
            mask_BK=torch.tensor([[True, False]]),
        )
        (gradient,) = torch.autograd.grad(found.sum(), rejected)
        assert gradient.tolist() == [[0.5, 0.0]]


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_rejecting_the_chosen_response_teaches_nothing(loss) -> None:
    both = torch.tensor([-3.0, 0.7], requires_grad=True)
    found = loss(
        both,
        both[:, None],
        beta=0.7,
        smoothing_B=torch.tensor([0.0, 0.3]),
        mask_BK=torch.ones(2, 1, dtype=torch.bool),
    )
    assert found.tolist() == pytest.approx([math.log(2)] * 2)
    (gradient,) = torch.autograd.grad(found.sum(), both)
    assert gradient.tolist() == pytest.approx([0, 0], abs=1e-7)


def gradient_of_margin(margin: float, smoothing: float) -> float:
    chosen = torch.tensor([margin], dtype=torch.float64, requires_grad=True)
    doubt = torch.tensor([smoothing], dtype=torch.float64, requires_grad=True)
    found = rosepo(
        chosen,
        torch.zeros(1, 1, dtype=torch.float64),
        beta=1.0,
        smoothing_B=doubt,
        mask_BK=torch.ones(1, 1, dtype=torch.bool),
    )
    found.sum().backward()
    assert doubt.grad is None
    return float(chosen.grad)


def test_the_optimum_of_rosepo_is_finite() -> None:
    assert gradient_of_margin(0.03, 0.2) == pytest.approx(-0.292501, abs=5e-7)
    assert gradient_of_margin(1.386294, 0.2) == pytest.approx(0, abs=1e-6)
    assert gradient_of_margin(0.0, 0.5) == 0
    found = value(rosepo, CHOSEN, REJECTED[:1], beta=0.1, smoothing=0.5)
    assert found == pytest.approx(0.693260, abs=5e-7)


@few
@given(st.floats(-4, 4), st.floats(0, 1))
def test_the_gradient_of_rosepo(margin: float, smoothing: float) -> None:
    expected = 1 / (1 + math.exp(-margin)) - (1 - smoothing)
    assert gradient_of_margin(margin, smoothing) == pytest.approx(expected, abs=1e-12)


def own(chosen_B, rejected_BK, *, beta, smoothing_B, mask_BK, floor):
    """What a method's own module may hold."""
    return (floor - beta * (chosen_B - rejected_BK[:, 0])).clamp(min=0)


def test_a_loss_of_ones_own(monkeypatch) -> None:
    monkeypatch.setattr("bench.models.lm.train.preference_losses.own", own, raising=False)
    loss = resolve_loss(
        "bench.models.lm.train.preference_losses:own", {"floor": 1.0}, num_rejected=4, smoothed=True
    )
    assert value(loss, 0.5, [0.2], beta=2) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("name", "settings", "num", "smoothed", "sentence"),
    [
        ("dop", {}, 1, False, "no loss named 'dop'"),
        ("dpo", {"floor": 1}, 1, False, "no argument 'floor'"),
        ("dpo", {}, 3, False, "one rejected response, not with 3"),
        ("rosepo", {}, 2, False, "one rejected response"),
        ("dpo", {}, 1, True, "takes no label smoothing"),
    ],
)
def test_what_a_loss_cannot_use_is_refused(name, settings, num, smoothed, sentence) -> None:
    with pytest.raises(BenchError, match=sentence):
        resolve_loss(name, settings, num_rejected=num, smoothed=smoothed)
    assert resolve_loss("rosepo", {}, num_rejected=1, smoothed=True) is rosepo
