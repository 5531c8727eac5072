"""What the trainers of language models share: arguments, isolation, the log of steps.

Both trainers stand on transformers' Trainer. An optimizer step covers one batch of the config,
however many micro-batches it is worked off in; the loss of a step is normalized over the whole of
it. Everything random comes from the config's seed, the caller's own random states are put back, and
so is whatever a trainer hangs on the model, since one model serves every stage of a process.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from bench.errors import BenchError, unknown
from bench.models.lm.threads import compute_threads
from bench.plan.language_stages import TrainingConfig

Arguments = TypeVar("Arguments", bound=TrainingArguments)

# transformers renamed it within its fifth version; TRL switches it on under the old name.
_NAMES = [field.name for field in fields(TrainingArguments)]
CHECKPOINTING = next(
    name for name in ("activation_checkpointing", "gradient_checkpointing") if name in _NAMES
)

WARMUP_SHARE = 10
"""The warm-up is at most one in so many steps."""


def num_steps(config: TrainingConfig, num_rows: int) -> int:
    """Return the number of optimizer steps over all epochs."""
    return config.num_train_epochs * math.ceil(num_rows / config.batch_size)


def micro_batch_size(config: TrainingConfig, divisor: int) -> int:
    """Return the rows per micro-batch: a divisor of the batch size, so that steps stay the same.

    Example:
        >>> config = TrainingConfig(batch_size=16)
        >>> [micro_batch_size(config, divisor) for divisor in (1, 2, 16, 32)]
        [16, 8, 1, 1]
    """
    most = math.ceil(config.batch_size / divisor)
    return next(size for size in range(most, 0, -1) if config.batch_size % size == 0)


def training_arguments(
    config: TrainingConfig, *, num_rows: int, divisor: int, folder: Path
) -> dict[str, Any]:
    """Return the keyword arguments of TrainingArguments, or of a class derived from it.

    Args:
        config: How to train; `config.trainer` overrides the defaults given here.
        num_rows: Rows of the training data, at least 1.
        divisor: Into how many micro-batches a batch is split to save memory.
        folder: Where a trainer may write; it is told to write nothing.

    Returns:
        By default AdamW without weight decay, gradients clipped to norm 1 and linear decay. Every
        step is logged; checkpoints, progress bars and recomputed activations are off.

    Raises:
        BenchError: `config.trainer` has an unknown field, or one that the config or the harness
            sets.
    """
    micro_batch = micro_batch_size(config, divisor)
    defaults = {
        "optim": "adamw_torch_fused",
        "lr_scheduler_type": "linear",
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
    }
    own = {
        "output_dir": str(folder),
        "num_train_epochs": config.num_train_epochs,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": config.batch_size // micro_batch,
        "learning_rate": config.learning_rate,
        "warmup_steps": min(config.warmup_steps, num_steps(config, num_rows) // WARMUP_SHARE),
        "seed": config.seed,
        "data_seed": config.seed,
        "logging_strategy": "steps",
        "logging_steps": 1,
        # The filter would write the mean of earlier losses where one is no number.
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": os.environ.get("BENCH_REPORT_TO", "none").split(","),  # live curves
        "disable_tqdm": True,
        CHECKPOINTING: False,
        # Weights are loaded in the dtype of the model's card; autocast would change it again.
        "bf16": False,
        "fp16": False,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "average_tokens_across_devices": False,
        "remove_unused_columns": False,
    }
    for name in config.trainer:
        if name in own:
            raise BenchError(
                f"trainer.{name} is set by the benchmark.",
                "Learning rate, epochs, batch size and warm-up have settings of their own.",
            )
        if name not in _NAMES:
            raise unknown("field of transformers' TrainingArguments", name, _NAMES)
    return {**defaults, **config.trainer, **own}


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
