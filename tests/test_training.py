"""Training of language models: steps and rates, micro-batches, isolation, divergence."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import tiny_llama, tiny_tokenizer
from transformers import LlamaForCausalLM, TrainingArguments

from bench.errors import BenchError
from bench.hashing import Plain
from bench.models.lm.train import trainer_setup
from bench.models.lm.train.collate import SFTSamples
from bench.models.lm.train.sft_trainer import fine_tune
from bench.models.lm.train.trainer_setup import (
    isolated,
    micro_batch_size,
    num_steps,
    training_arguments,
    unpatched,
    use_one_device,
)
from bench.plan.language_stages import SFTConfig

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = 40


def sft_config(**changes: Any) -> SFTConfig:
    settings = {"num_train_epochs": 2, "learning_rate": 0.01, "warmup_steps": 0, "seed": 3}
    return SFTConfig(**{**settings, "batch_size": 8, **changes})


def make_samples(num: int = 22, *, weighted: bool = False) -> SFTSamples:
    """Prompts of 3 to 9 tokens and responses of 1 to 4, with different weights on request."""
    numbers = np.random.default_rng(0)

    def ids(least: int, most: int) -> list[list[int]]:
        lengths = numbers.integers(least, most + 1, size=num)
        return [numbers.integers(4, VOCABULARY, size=length).tolist() for length in lengths]

    prompts, responses = ids(3, 9), ids(1, 4)
    weights = [numbers.random(len(response)) for response in responses] if weighted else None
    return SFTSamples(prompts=prompts, responses=responses, weights=weights)


def tuned(
    samples: SFTSamples,
    config: SFTConfig,
    *,
    divisor: int = 1,
    model: LlamaForCausalLM | None = None,
) -> tuple[LlamaForCausalLM, dict[str, Plain]]:
    model = model or tiny_llama(VOCABULARY)
    return model, fine_tune(model, tiny_tokenizer(), samples, config, divisor=divisor)


def difference(first: torch.nn.Module, second: torch.nn.Module) -> float:
    return max(
        float((a - b).detach().abs().max())
        for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def arguments(config: SFTConfig, *, num_samples: int = 9, divisor: int = 1) -> dict[str, Any]:
    return training_arguments(config, num_samples=num_samples, divisor=divisor, folder=".")


# --- steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "batch", "epochs", "steps"), [(22, 8, 2, 6), (16, 8, 3, 6), (5, 8, 2, 2), (9, 1, 1, 9)]
)
@pytest.mark.parametrize("divisor", [1, 4])
def test_every_epoch_takes_its_rest(
    rows: int, batch: int, epochs: int, steps: int, divisor: int
) -> None:
    config = sft_config(batch_size=batch, num_train_epochs=epochs)
    assert num_steps(config, rows) == steps
    _, metadata = tuned(make_samples(rows), config, divisor=divisor)
    assert metadata["steps"] == steps == len(metadata["loss_by_step"])


def test_the_papers_steps() -> None:
    base = sft_config(batch_size=16, num_train_epochs=4, warmup_steps=20)
    one_round = replace(base, num_train_epochs=1)
    assert (num_steps(base, 4096), num_steps(one_round, 2048)) == (1024, 128)
    assert arguments(base, num_samples=4096)["warmup_steps"] == 20
    assert arguments(one_round, num_samples=2048)["warmup_steps"] == 12


@given(st.integers(1, 300), st.sampled_from([2**power for power in range(10)]))
def test_micro_batches_fill_the_batch_exactly(batch: int, divisor: int) -> None:
    config = sft_config(batch_size=batch)
    size = micro_batch_size(config, divisor)
    assert batch % size == 0
    assert 1 <= size <= math.ceil(batch / divisor)
    settings = arguments(config, divisor=divisor)
    assert (
        settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"] == batch
    )
    if divisor == 1:
        assert size == batch


def logged_rates(monkeypatch: pytest.MonkeyPatch, config: SFTConfig) -> list[float]:
    logs: list[trainer_setup.StepLog] = []

    class Log(trainer_setup.StepLog):
        def __init__(self) -> None:
            super().__init__()
            logs.append(self)

    monkeypatch.setattr(trainer_setup, "StepLog", Log)
    tuned(make_samples(20), config)
    return [step["learning_rate"] for step in logs[0].steps]


def test_the_rate_rises_and_falls_linearly(monkeypatch: pytest.MonkeyPatch) -> None:
    config = sft_config(batch_size=1, warmup_steps=50, learning_rate=0.001)
    rates = logged_rates(monkeypatch, config)
    rising = [0.001 * step / 4 for step in range(4)]
    falling = [0.001 * (40 - step) / 36 for step in range(4, 40)]
    np.testing.assert_allclose(rates, rising + falling, rtol=1e-9)


def test_training_is_adamw_by_hand() -> None:
    """One batch holds all rows, so that the order is no matter; losses are transformers' own."""
    rows, config = make_samples(6), sft_config(batch_size=6, num_train_epochs=4)
    model, metadata = tuned(rows, config)

    by_hand = tiny_llama(VOCABULARY)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.01, weight_decay=0.0)
    length = max(len(p) + len(r) for p, r in zip(rows.prompts, rows.responses, strict=True))
    ids, labels = torch.zeros(6, length, dtype=torch.long), torch.full((6, length), -100)
    mask = torch.zeros(6, length, dtype=torch.long)
    for row, (asked, said) in enumerate(zip(rows.prompts, rows.responses, strict=True)):
        end = len(asked) + len(said)
        ids[row, :end], mask[row, :end] = torch.tensor(asked + said), 1
        labels[row, len(asked) : end] = torch.tensor(said)
    losses = []
    for step in range(4):
        loss = by_hand(input_ids=ids, attention_mask=mask, labels=labels).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 0.01 * (4 - step) / 4
        optimizer.step()
    # float32 sums of about 20 cross-entropies near 3.7; a wrong rate or mean moves them by 1e-2.
    np.testing.assert_allclose(metadata["loss_by_step"], losses, atol=2e-5)
    assert losses[-1] < losses[0] - 0.5
    assert difference(model, by_hand) < 5e-4 < difference(model, tiny_llama(VOCABULARY))


# --- micro-batches ------------------------------------------------------------------------------


@pytest.mark.parametrize("mean_over", ["tokens", "rows", "micro-batch"])
@pytest.mark.parametrize("divisor", [2, 16])
def test_micro_batches_are_the_batch(mean_over: str, divisor: int) -> None:
    samples = make_samples(38, weighted=True)
    config = sft_config(batch_size=16, mean_over=mean_over)
    whole, expected = tuned(samples, config)
    parted, metadata = tuned(samples, config, divisor=divisor)
    assert metadata["micro_batch"] == 16 // divisor
    np.testing.assert_allclose(metadata["loss_by_step"], expected["loss_by_step"], atol=5e-5)
    assert difference(whole, tiny_llama(VOCABULARY)) > 1e-2
    assert difference(whole, parted) < 1e-3


# --- isolation ----------------------------------------------------------------------------------


def test_a_seed_gives_the_same_bits_and_another_seed_others() -> None:
    (first, metadata), (second, again), (other, _) = (
        tuned(make_samples(), sft_config(seed=seed)) for seed in (3, 3, 4)
    )
    assert metadata == again
    assert difference(first, second) == 0
    assert difference(first, other) > 0


def random_states() -> list[object]:
    return [random.getstate(), *np.random.get_state()[1].tolist(), *torch.get_rng_state().tolist()]


def test_the_callers_random_numbers_and_threads_are_left_alone() -> None:
    before, threads = random_states(), torch.get_num_threads()
    tuned(make_samples(), sft_config())
    with pytest.raises(ZeroDivisionError), isolated(0, threads + 1):
        assert torch.get_num_threads() == threads + 1
        assert random_states() != before
        _ = 1 / 0
    assert random_states() == before
    assert torch.get_num_threads() == threads


def test_what_a_trainer_sets_on_the_model_is_restored() -> None:
    model = tiny_llama(VOCABULARY)
    model.generation_config.eos_token_id = 39
    forward, config = model.forward, model.config.to_dict()
    tuned(make_samples(), sft_config(), model=model)
    assert model.forward == forward
    assert model.config.to_dict() == config
    assert model.generation_config.eos_token_id == 39
    assert not model.training
    assert all(weight.grad is None for weight in model.parameters())


def test_unpatched_keeps_the_weights() -> None:
    model = tiny_llama(VOCABULARY)
    with unpatched(model), torch.no_grad():
        model.forward = print
        model.config.use_cache = False
        model.lm_head.weight.fill_(1.0)
        model.train()
    assert model.forward != print
    assert model.config.use_cache is True
    assert not model.training
    assert model.lm_head.weight.detach().min() == 1


def test_several_gpus_do_not_multiply_the_batch() -> None:
    several = TrainingArguments(**arguments(sft_config(), divisor=2))
    assert several.n_gpu <= torch.cuda.device_count()
    several._n_gpu = 4
    assert several.train_batch_size == 16
    assert use_one_device(several).train_batch_size == 4


def test_training_prints_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tuned(make_samples(), sft_config())
    assert capfd.readouterr().out == ""
    assert not list(tmp_path.iterdir())


# --- mistakes -----------------------------------------------------------------------------------


def test_a_diverged_loss_names_its_step() -> None:
    with pytest.raises(
        BenchError, match=r"In step [23] the (loss|gradient's norm) is (nan|inf)"
    ) as e:
        tuned(make_samples(), sft_config(learning_rate=1e30))
    assert "Lower the learning rate" in e.value.hint


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"weight_decya": 0.1}, "no field of TrainingArguments named 'weight_decya'"),
        ({"learning_rate": 0.1}, "learning_rate .* set by the benchmark"),
        ({"output_dir": "x"}, "output_dir .* set by the benchmark"),
        ({"push_to_hub": True}, "push_to_hub .* set by the benchmark"),
    ],
)
def test_fields_of_training_arguments_are_checked(trainer: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        tuned(make_samples(), sft_config(trainer=trainer))


def test_fields_of_training_arguments_are_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = logged_rates(monkeypatch, sft_config(trainer={"lr_scheduler_type": "constant"}))
    assert rates == [0.01] * 6
    decayed, _ = tuned(make_samples(), sft_config(trainer={"weight_decay": 0.5}))
    plain, _ = tuned(make_samples(), sft_config())
    assert difference(decayed, plain) > 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_train_epochs": 0},
        {"batch_size": 0},
        {"warmup_steps": -1},
        {"learning_rate": 0.0},
        {"learning_rate": math.inf},
        {"learning_rate": math.nan},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BenchError):
        sft_config(**wrong)


def test_no_thread_is_refused() -> None:
    with pytest.raises(BenchError, match="0 threads"), isolated(0, 0):
        pass
