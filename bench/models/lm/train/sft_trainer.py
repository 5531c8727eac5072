"""Supervised fine-tuning with TRL's SFTTrainer, its loss replaced by one that takes token weights.

Shapes: B samples of a micro-batch, L length, N supervised tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback
from trl.trainer.sft_config import SFTConfig as SFTArguments
from trl.trainer.sft_trainer import SFTTrainer

from bench.hashing import Plain, derive_seed
from bench.models.lm.devices import autocast
from bench.models.lm.tokenization import Tokenizer
from bench.models.lm.train.collate import Example, SFTCollator, SFTSamples
from bench.models.lm.train.token_loss import (
    IGNORED,
    GroupLoss,
    coefficients,
    counterfactual_loss,
    cross_entropy,
    token_logits,
)
from bench.models.lm.train.trainer_setup import DECIMALS, micro_batch_size, run_trainer
from bench.plan.language_stages import SFTConfig
from datasets import Dataset  # type: ignore[attr-defined]  # HuggingFace's, not our folder


class WeightedSFTTrainer(SFTTrainer):
    """SFTTrainer with a loss that is normalized over the whole optimizer step, weights included."""

    loss_is_scaled_for_ga = True  # type: ignore[assignment]

    def __init__(
        self,
        *,
        config: SFTConfig,
        groups: GroupLoss,
        tokenizer: Tokenizer,
        model: Any,
        **kwargs: Any,
    ) -> None:
        # For a base in 4 bits TRL rounds the adapter to bfloat16; ours stays as it was loaded.
        trained = [(weight, weight.data) for weight in model.parameters() if weight.requires_grad]
        super().__init__(model=model, processing_class=tokenizer, **kwargs)
        for weight, data in trained:
            weight.data = data
        # With a tokenizer, training would begin by changing the model's special tokens.
        self.processing_class = None
        self.config, self.groups = config, groups

    def _send_telemetry(self) -> None:
        """Send nothing: a run may be offline, and its user did not agree."""

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Fetch the micro-batches of one step and add each token's coefficient in the loss."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        weights, rows, num_rows = [], [], 0
        for batch in batches:
            weights.append(batch.pop("weights").flatten()[batch["supervised"]])
            size, length = batch["input_ids"].shape
            rows.append(batch["supervised"] // length + num_rows)
            num_rows += size
        coefficients_N = coefficients(
            torch.cat(weights),
            torch.cat(rows),
            torch.cat([batch.pop("lengths") for batch in batches]),
            self.config.mean_over,
        )
        parts = torch.split(coefficients_N, [len(part_N) for part_N in weights])
        for batch, part_N in zip(batches, parts, strict=True):
            batch["coefficients"] = part_N
        return batches, None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """Return a micro-batch's part of the step's loss; the parts add up to it."""
        assert not return_outputs, "outputs are never read while training"
        coefficients_N = inputs["coefficients"]
        supervised_N = inputs["supervised"]
        logits_NV, targets_N = token_logits(
            model, inputs["input_ids"], inputs["labels"], supervised_N
        )
        cross_entropies_N = cross_entropy(logits_NV, targets_N)
        loss = (coefficients_N * cross_entropies_N).sum()
        if "groups" in inputs:
            self.groups.add(cross_entropies_N, inputs["groups"].flatten()[supervised_N])
        if self.config.counterfactual_weight:
            bare_NV, _ = token_logits(
                model, *(inputs[f"bare_{name}"] for name in ("ids", "labels", "supervised"))
            )
            second = counterfactual_loss(logits_NV, bare_NV, targets_N, coefficients_N)
            loss = loss + self.config.counterfactual_weight * second
        return loss


@dataclass(kw_only=True)
class EarlyStopping(TrainerCallback):
    """Measures the validation loss after each epoch, keeps the best weights, stops in time.

    Attributes:
        losses: One per epoch.
        weights: Of the epoch with the lowest loss, on the CPU.
    """

    model: Any
    examples: list[Example]
    collator: SFTCollator
    config: SFTConfig
    batch_size: int
    losses: list[float] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest loss, counted from 1; the first of equal ones."""
        return self.losses.index(min(self.losses)) + 1

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the loss, copy the weights if it is the lowest, and stop after `patience`."""
        with autocast(self.model.device, self.config.model.dtype):
            loss = mean_loss(self.model, self.examples, self.collator, self.batch_size)
        self.losses.append(loss)
        if self.best_epoch == len(self.losses):
            self.weights = {
                name: weight.detach().to("cpu", copy=True)
                for name, weight in self.model.named_parameters()
                if weight.requires_grad
            }
        if len(self.losses) - self.best_epoch >= self.config.early_stopping_patience:
            control.should_training_stop = True

    def snapshot(self) -> dict[str, Tensor]:
        """Return the losses, and the best weights."""
        return {"losses": torch.tensor(self.losses, dtype=torch.float64), **self.weights}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue after these losses."""
        self.weights = dict(state)
        self.losses = self.weights.pop("losses").tolist()

    @torch.no_grad()
    def keep_best(self) -> None:
        """Copy the best epoch's weights back into the model."""
        for name, weight in self.model.named_parameters():
            if weight.requires_grad:
                weight.copy_(self.weights[name])


@torch.no_grad()
def mean_loss(model: Any, examples: list[Example], collator: SFTCollator, batch_size: int) -> float:
    """Return the mean cross-entropy over all supervised tokens, without dropout."""
    dropouts = [each for each in model.modules() if isinstance(each, torch.nn.Dropout)]
    modes = [each.training for each in dropouts]
    for each in dropouts:
        each.eval()
    total, num_tokens = 0.0, 0
    for start in range(0, len(examples), batch_size):
        batch = collator(examples[start : start + batch_size])
        names = ("input_ids", "labels", "supervised")
        logits_NV, targets_N = token_logits(
            model, *(batch[name].to(model.device) for name in names)
        )
        total += float(cross_entropy(logits_NV, targets_N).double().sum())
        num_tokens += len(targets_N)
    for each, mode in zip(dropouts, modes, strict=True):
        each.train(mode)
    return total / num_tokens


def fine_tune(
    model: Any,
    tokenizer: Tokenizer,
    samples: SFTSamples,
    config: SFTConfig,
    *,
    divisor: int = 1,
    valid: SFTSamples | None = None,
    **execution: Any,
) -> dict[str, Plain]:
    """Train the weights of a model that have `requires_grad`, in place; see `run_trainer`.

    There is a sample at least, and one for early stopping in `valid`.

    Returns:
        Logged metrics: steps, tokens, loss by step, loss by epoch for the groups of tokens, and
        validation loss by epoch.

    Raises:
        BenchError: The loss or the gradient is not finite.
    """
    assert (samples.bare_prompts is not None) == (config.counterfactual_weight > 0)
    supervise_prompts = not config.completion_only_loss
    examples = samples.to_examples(supervise_prompts=supervise_prompts)
    collator, groups = SFTCollator(padding=tokenizer.pad_token_id), GroupLoss()
    batch_size = micro_batch_size(config, divisor)
    stopping = None
    if config.early_stopping_patience:
        assert valid is not None
        stopping = EarlyStopping(
            model=model,
            examples=replace(valid, bare_prompts=None).to_examples(
                supervise_prompts=supervise_prompts
            ),
            collator=collator,
            config=config,
            batch_size=batch_size,
        )
    _, log = run_trainer(
        partial(WeightedSFTTrainer, config=config, groups=groups, tokenizer=tokenizer),
        model,
        Dataset.from_list(examples),
        collator,
        replace(config, seed=derive_seed("sft", config.seed)),
        lengths=[len(example["input_ids"]) for example in examples],
        divisor=divisor,
        **execution,
        make_arguments=partial(SFTArguments, dataset_kwargs={"skip_prepare_dataset": True}),
        callbacks=[groups] if stopping is None else [groups, stopping],
    )
    metrics: dict[str, Plain] = {
        "steps": len(log.losses),
        "micro_batch": batch_size,
        "tokens": sum(len(example["input_ids"]) for example in examples),
        "supervised_tokens": sum(
            len(example["labels"]) - example["labels"].count(IGNORED) for example in examples
        ),
        "loss_by_step": log.rounded,
        **groups.means_by_epoch(DECIMALS),
    }
    if stopping is not None:
        stopping.keep_best()
        metrics["valid_loss_by_epoch"] = [round(loss, DECIMALS) for loss in stopping.losses]
        metrics["best_epoch"] = stopping.best_epoch
    return metrics
