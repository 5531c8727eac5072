"""What the trainers of language models share: recipe, arguments, seclusion, the record of steps.

Both trainers stand on transformers' Trainer. An optimizer step covers one batch of the recipe,
however many micro-batches it is worked off in; the loss of a step is normalized over the whole of
it. Everything random comes from the recipe's seed, the caller's own random states are put back, and
so is whatever a trainer hangs on the model, since one model serves every stage of a process.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from bench.errors import BenchError
from bench.models.lm.threads import compute_threads

Arguments = TypeVar("Arguments", bound=TrainingArguments)

# transformers renamed it within its fifth version; TRL switches it on under the old name.
_NAMES = [field.name for field in fields(TrainingArguments)]
CHECKPOINTING = next(
    name for name in ("activation_checkpointing", "gradient_checkpointing") if name in _NAMES
)

WARMUP_SHARE = 10
"""The warm-up is at most one in so many steps."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a language model is trained.

    Attributes:
        epochs: Passes over the rows, at least 1.
        learning_rate: AdamW's peak, above 0; it falls linearly to 0.
        batch: Rows of one optimizer step, at least 1; an epoch's last step takes what is left.
        warmup: Steps of linear warm-up from a rate of 0; never more than a tenth of all steps.
        seed: Decides order and dropout.

    Raises:
        BenchError: A setting is out of its range.
    """

    epochs: int
    learning_rate: float
    batch: int
    warmup: int
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("warmup", 0)):
            if getattr(self, name) < least:
                raise BenchError(
                    f"The training has {name} = {getattr(self, name)}.", f"Give {least} or more."
                )
        if not 0 < self.learning_rate < math.inf:
            raise BenchError(
                f"Nothing can be learned at a rate of {self.learning_rate}.",
                "Give a learning rate above 0.",
            )

    def steps(self, num_rows: int) -> int:
        """Return the number of optimizer steps over all epochs."""
        return self.epochs * math.ceil(num_rows / self.batch)

    def warmup_steps(self, num_rows: int) -> int:
        """Return the number of steps that the learning rate rises for."""
        return min(self.warmup, self.steps(num_rows) // WARMUP_SHARE)

    def micro_batch(self, divisor: int) -> int:
        """Return the rows of a micro-batch: a divisor of the batch, so that steps stay the same.

        Example:
            >>> recipe = Recipe(epochs=1, learning_rate=1e-4, batch=16, warmup=0, seed=0)
            >>> [recipe.micro_batch(divisor) for divisor in (1, 2, 16, 32)]
            [16, 8, 1, 1]
        """
        most = math.ceil(self.batch / divisor)
        return next(size for size in range(most, 0, -1) if self.batch % size == 0)


def training_arguments(
    recipe: Recipe, *, num_rows: int, divisor: int, folder: Path
) -> dict[str, Any]:
    """Return the keyword arguments of TrainingArguments, or of a class derived from it.

    Args:
        recipe: How to train.
        num_rows: Rows of the training data, at least 1.
        divisor: Into how many micro-batches a batch is split to save memory.
        folder: Where a trainer may write; it is told to write nothing.

    Returns:
        AdamW without weight decay, gradients clipped to norm 1, linear decay, every step logged, no
        checkpoints, no progress bars, no recomputed activations.
    """
    micro_batch = recipe.micro_batch(divisor)
    return {
        "output_dir": str(folder),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": recipe.batch // micro_batch,
        "optim": "adamw_torch_fused",
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": recipe.warmup_steps(num_rows),
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "logging_strategy": "steps",
        "logging_steps": 1,
        # The filter would write the mean of earlier losses where one is no number.
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": os.environ.get("BENCH_REPORT_TO", "none").split(","),  # live curves
        "disable_tqdm": True,
        CHECKPOINTING: False,
        # Weights are loaded in the dtype that is asked for; autocast would be a second opinion.
        "bf16": False,
        "fp16": False,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "average_tokens_across_devices": False,
        "remove_unused_columns": False,
    }


def on_one_device(arguments: Arguments) -> Arguments:
    """Keep a trainer to one device: with several GPUs in sight it would multiply the batch."""
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


class StepLog(TrainerCallback):
    """Collects what is logged at each optimizer step, and stops a training that diverged.

    Attributes:
        steps: One mapping a step: "loss", "learning_rate", "grad_norm", and what a trainer adds.
    """

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        """Take down one step; the summary at the end is none.

        Raises:
            BenchError: The loss or the gradient is no finite number.
        """
        if logs is None or "loss" not in logs:
            return
        for name, what in (("loss", "loss"), ("grad_norm", "gradient's norm")):
            if not math.isfinite(logs.get(name, 0.0)):
                raise BenchError(
                    f"In step {state.global_step} the {what} is {logs[name]}.",
                    "Lower the learning rate.",
                )
        self.steps.append({name: float(value) for name, value in logs.items()})

    def series(self, name: str, decimals: int = 6) -> list[float]:
        """Return one logged number over the steps, rounded."""
        return [round(step[name], decimals) for step in self.steps]


def train(trainer: Trainer) -> None:
    """Train quietly and leave the model in evaluation mode, without gradients."""
    trainer.remove_callback(PrinterCallback)
    model = trainer.model
    assert model is not None
    try:
        trainer.train()
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()


@contextmanager
def isolated(seed: int, threads: int) -> Iterator[None]:
    """Seed Python, NumPy and torch, and compute with a number of threads, only in here.

    Args:
        seed: Below 2**32.
        threads: CPU threads, at least 1.

    Raises:
        BenchError: There is no thread to compute with.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    python, numpy = random.getstate(), np.random.get_state()
    with compute_threads(threads), torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def unpatched(model: Any) -> Iterator[None]:
    """Take off again whatever is hung on a model in here: forwards, flags, settings.

    Trainers replace `forward`, switch the cache off, and write the tokenizer's special tokens into
    the configuration; weights, adapters and gradients are not touched.

    Args:
        model: A transformers model, or one that peft wrapped.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    objects = [model, inner, inner.config]
    if getattr(inner, "generation_config", None) is not None:
        objects.append(inner.generation_config)
    before = [dict(vars(thing)) for thing in objects]
    training = model.training
    try:
        yield
    finally:
        for thing, attributes in zip(objects, before, strict=True):
            vars(thing).clear()
            vars(thing).update(attributes)
        model.train(training)
