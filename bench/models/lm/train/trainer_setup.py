"""What the trainers of language models share: arguments, isolation, the log of optimizer steps.

All of them are transformers' Trainer. An optimizer step covers one batch of the config, however
many micro-batches it is split into, and its loss is normalized over the whole batch. Everything
random comes from the seed. The caller's random states are restored, and so are the attributes that
a trainer sets on the model, since one model serves every stage of a process.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from bench.errors import BenchError, unknown
from bench.hashing import derive_seed
from bench.models.lm.devices import autocast, compute_threads, select_device
from bench.models.lm.train.checkpoints import Checkpoints, Recorder, find_last
from bench.models.progress import report_progress
from bench.plan.language_stages import TrainingConfig

POOL_BATCHES = 16
"""Batches whose samples are sorted by length together."""

DECIMALS = 6
LOGGING_STEPS = {"cuda": 10, "cpu": 1}
"""Optimizer steps between two readings of the losses: each reading waits for the GPU."""
PROBED = {"cuda"}
"""Devices whose memory is probed by the longest batch."""
AnyTrainer = TypeVar("AnyTrainer", bound=Trainer)
_FIELDS = [field.name for field in fields(TrainingArguments)]
# transformers renamed it within its fifth version; TRL switches it on under the old name.
_CHECKPOINTING = next(
    name for name in ("activation_checkpointing", "gradient_checkpointing") if name in _FIELDS
)
TUNABLE = frozenset(
    {
        "optim", "optim_args", "optim_target_modules", "lr_scheduler_type", "lr_scheduler_kwargs",
        "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
        _CHECKPOINTING, f"{_CHECKPOINTING}_kwargs", "torch_compile", "torch_compile_backend",
        "torch_compile_mode", "torch_empty_cache_steps", "full_determinism", "tf32",
    }
)  # fmt: skip
"""Fields of TrainingArguments that a config's `trainer` may set. The others are the benchmark's, or
have no effect here."""


class EpochOrder(Sampler[int]):
    """A seeded order of the samples for each epoch; every pass over it is the next epoch.

    `config.seed` decides the order; `group_by_length` and `batch_size` which samples share a batch.
    """

    def __init__(self, lengths: Sequence[int], config: TrainingConfig) -> None:
        self.lengths, self.config = np.asarray(lengths), config
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng(derive_seed("sample order", self.config.seed, self.epoch))
        self.epoch += 1
        order = rng.permutation(len(self.lengths))
        if self.config.group_by_length:
            order = group_by_length(order, self.lengths, self.config.batch_size, rng)
        return iter(order.tolist())

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be that of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)


def group_by_length(
    order: NDArray[np.int64],
    lengths: NDArray[np.int64],
    batch_size: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Sort each pool of consecutive samples by length, and put all batches in random order.

    Only a last batch that is not full stays where it is. transformers' own sampler
    ("group_by_length") would leave each pool's batches in falling order of length.
    """
    pools = np.split(order, range(POOL_BATCHES * batch_size, len(order), POOL_BATCHES * batch_size))
    grouped = np.concatenate([pool[np.argsort(-lengths[pool], kind="stable")] for pool in pools])
    num_full = len(order) // batch_size * batch_size
    batches = rng.permutation(grouped[:num_full].reshape(-1, batch_size))
    return np.concatenate([batches.ravel(), grouped[num_full:]])


def num_steps(config: TrainingConfig, num_samples: int) -> int:
    """Return the number of optimizer steps over all epochs."""
    return config.num_train_epochs * math.ceil(num_samples / config.batch_size)


def micro_batch_size(config: TrainingConfig, divisor: int) -> int:
    """Return the samples per micro-batch: a divisor of the batch size, so that steps stay the same.

    Example:
        >>> config = TrainingConfig(num_train_epochs=1, learning_rate=1e-4, batch_size=16)
        >>> [micro_batch_size(config, divisor) for divisor in (1, 2, 16, 32)]
        [16, 8, 1, 1]
    """
    largest = math.ceil(config.batch_size / divisor)
    return next(size for size in range(largest, 0, -1) if config.batch_size % size == 0)


def training_arguments(
    config: TrainingConfig, *, num_samples: int, divisor: int, folder: str
) -> dict[str, Any]:
    """Return the keyword arguments of TrainingArguments, or of a class derived from it.

    Raises:
        BenchError: `config.trainer` has a field that does not exist or cannot be set.
    """
    for name in config.trainer:
        if name not in _FIELDS:
            raise unknown("field of TrainingArguments", name, _FIELDS)
        if name not in TUNABLE:
            raise BenchError(
                f"The field {name} of TrainingArguments is set by the benchmark.",
                f"Leave it out of `trainer`, which may hold: {', '.join(sorted(TUNABLE))}.",
            )
    size, on_gpu = micro_batch_size(config, divisor), select_device().type == "cuda"
    return {
        "output_dir": folder,
        "num_train_epochs": config.num_train_epochs,
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": config.batch_size // size,
        "optim": "adamw_torch_fused",
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": min(config.warmup_steps, num_steps(config, num_samples) // 10),
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": config.seed,
        "data_seed": config.seed,
        "logging_strategy": "steps",
        "logging_steps": LOGGING_STEPS[select_device().type],
        # The filter would replace a loss that is not finite by the mean of earlier ones.
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # `Checkpoints` decides
        "save_total_limit": 1,
        "eval_strategy": "no",
        "report_to": os.environ.get("BENCH_REPORT_TO", "none").split(","),  # live curves
        "disable_tqdm": True,
        # Where micro-batches of one sample were too large, activations are recomputed.
        _CHECKPOINTING: divisor > config.batch_size,
        f"{_CHECKPOINTING}_kwargs": {"use_reentrant": False},
        # `run_trainer` sets the precision.
        "bf16": False,
        "fp16": False,
        "use_cpu": not on_gpu,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": on_gpu,
        "accelerator_config": {"non_blocking": on_gpu},
        "average_tokens_across_devices": False,
        "remove_unused_columns": False,
        **config.trainer,
    }


class StepLog(TrainerCallback):
    """Collects the loss of each optimizer step, and stops a training that diverged.

    Attributes:
        steps: What the trainer logged: "loss", "learning_rate", "grad_norm".
        losses: The loss of each optimizer step, as far as it was read from the device.
        tokens_per_step: Mean number of tokens per optimizer step, for the display.
    """

    def __init__(self) -> None:
        self.tokens_per_step = 0.0
        self.steps: list[dict[str, float]] = []
        self.losses: list[float] = []
        self._unread: list[Tensor] = []
        self._loss: Tensor | None = None

    def add(self, loss: Tensor) -> None:
        """Add a micro-batch's part of a step's loss, without waiting for the device."""
        self._loss = loss if self._loss is None else self._loss + loss

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End a step."""
        if self._loss is not None:
            self._unread.append(self._loss)
            self._loss = None
        step = state.global_step
        report_progress(step, state.max_steps, "steps", tokens=step * self.tokens_per_step)

    def snapshot(self) -> dict[str, Tensor]:
        """Return the losses."""
        self.read()
        return {"losses": torch.tensor(self.losses, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue after these losses."""
        self.losses, self._unread, self._loss = state["losses"].tolist(), [], None

    def read(self) -> None:
        """Read the losses from the device.

        Raises:
            BenchError: One is not finite.
        """
        if not self._unread:
            return
        first, losses = len(self.losses) + 1, torch.stack(self._unread).double().tolist()
        self._unread.clear()
        self.losses += losses
        for step, loss in enumerate(losses, start=first):
            _check_finite("loss", loss, step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        """Record what is logged; the summary at the end has no loss and is skipped.

        Raises:
            BenchError: The loss or the gradient is not finite.
        """
        if logs is None or "loss" not in logs:
            return
        self.read()
        _check_finite("loss", logs["loss"], state.global_step)
        _check_finite("gradient's norm", logs.get("grad_norm", 0.0), state.global_step)
        self.steps.append({name: float(value) for name, value in logs.items()})

    @property
    def rounded(self) -> list[float]:
        """The losses, rounded."""
        return [round(loss, DECIMALS) for loss in self.losses]


def _check_finite(what: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise BenchError(f"In step {step} the {what} is {value}.", "Lower the learning rate.")


class LongestFirst(TrainerCallback):
    """Computes the longest batch after the first step: memory runs out early or never.

    Its gradient is dropped, and so is what it recorded; random states are put back.
    """

    def __init__(self, trainer: Trainer, checkpoints: Checkpoints, longest: Sequence[Any]) -> None:
        self._trainer: Any = trainer
        self._checkpoints, self._longest = checkpoints, longest

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Compute the batch, once the optimizer has its state."""
        if state.global_step != 1:
            return
        trainer = self._trainer
        recorded = {name: value.clone() for name, value in self._checkpoints.record().items()}
        with isolated(0, torch.get_num_threads()):
            batch = {
                name: value.to(args.device)
                for name, value in trainer.data_collator(self._longest).items()
            }
            batches, num_items = trainer.get_batch_samples(iter([batch]), 1, args.device)
            trainer.training_step(trainer.model, batches[0], num_items)
        trainer.model.zero_grad()
        self._checkpoints.restore(recorded)


def run_trainer(
    make_trainer: Callable[..., AnyTrainer],
    model: Any,
    samples: Any,
    collate: Callable[[Sequence[Any]], dict[str, torch.Tensor]],
    config: TrainingConfig,
    *,
    lengths: Sequence[int],
    divisor: int,
    checkpoints: Path | None = None,
    dropout: bool = True,
    make_arguments: Callable[..., TrainingArguments] = TrainingArguments,
    callbacks: Sequence[TrainerCallback] = (),
) -> tuple[AnyTrainer, StepLog]:
    """Train a model in place and leave it in evaluation mode, without gradients.

    Args:
        make_trainer: A subclass of Trainer, or a partial of one.
        model: Weights with `requires_grad` are trained.
        samples: Training data, at least one sample.
        collate: Turns the samples of a micro-batch into tensors.
        config: How to train.
        lengths: Tokens of each sample.
        divisor: Number of micro-batches a batch is split into to save memory.
        checkpoints: Folder of checkpoints that a killed training continues from; None for none.
        dropout: Whether the adapter's dropout is on.
        make_arguments: TrainingArguments, or what a subclass of Trainer wants instead.
        callbacks: Further callbacks.

    Raises:
        BenchError: `config.trainer` cannot be used, or the loss or the gradient is not finite.
    """
    log = StepLog()
    log.tokens_per_step = config.batch_size * sum(lengths) / len(lengths)
    threads = config.model.threads
    with isolated(config.seed, threads), unpatched(model), TemporaryDirectory() as temporary:
        folder = checkpoints or Path(temporary)
        settings = training_arguments(
            config,
            num_samples=len(samples),
            divisor=divisor,
            folder=str(folder),
        )
        trainer = make_trainer(
            model=model,
            args=use_one_device(make_arguments(**settings)),
            train_dataset=samples,
            data_collator=collate,
            callbacks=[log, *callbacks],
        )
        trainer.remove_callback(PrinterCallback)
        vars(trainer)["_get_train_sampler"] = lambda *_: EpochOrder(lengths, config)
        precision = partial(autocast, model.device, config.model.dtype)
        vars(trainer)["autocast_smart_context_manager"] = precision
        training_step = trainer.training_step

        def record_loss(*args: Any, **kwargs: Any) -> Tensor:
            loss = training_step(*args, **kwargs)
            log.add(loss)
            return loss

        vars(trainer)["training_step"] = record_loss
        recorders = [each for each in (log, *callbacks, trainer) if isinstance(each, Recorder)]
        saving = Checkpoints(trainer, recorders)
        if checkpoints is not None:
            trainer.add_callback(saving)
        if model.device.type in PROBED:
            longest = sorted(range(len(lengths)), key=lambda index: -lengths[index])
            rows = [samples[index] for index in longest[: micro_batch_size(config, divisor)]]
            trainer.add_callback(LongestFirst(trainer, saving, rows))
        try:
            with fixed_mode(model, dropout=dropout):
                trainer.train(resume_from_checkpoint=find_last(folder))
            log.read()
        finally:
            model.zero_grad(set_to_none=True)
            if getattr(trainer.args, _CHECKPOINTING):
                getattr(model, f"{_CHECKPOINTING}_disable")()
            model.eval()
    return trainer, log


@contextmanager
def fixed_mode(model: Any, *, dropout: bool) -> Iterator[None]:
    """Put a model into training mode, with or without dropout; `train()` does nothing within.

    Trainers call it at each step, and each call visits all modules.
    """
    model.train()
    for module in () if dropout else model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    vars(model)["train"] = lambda mode=True: model
    try:
        yield
    finally:
        del vars(model)["train"]


def use_one_device(arguments: TrainingArguments) -> TrainingArguments:
    """Restrict a trainer to one device: several visible GPUs would multiply the batch."""
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


@contextmanager
def isolated(seed: int, threads: int) -> Iterator[None]:
    """Within the block, seed Python, NumPy and torch (below 2**32), and use `threads` CPU threads.

    Raises:
        BenchError: `threads` is below 1.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with compute_threads(threads), torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


@contextmanager
def unpatched(model: Any) -> Iterator[None]:
    """Restore the attributes of a model after the block; weights and adapters are not touched.

    Trainers replace `forward`, switch the cache off, and write the tokenizer's special tokens into
    the configuration.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    objects = [model, inner, inner.config]
    if getattr(inner, "generation_config", None) is not None:
        objects.append(inner.generation_config)
    saved = [dict(vars(instance)) for instance in objects]
    training = model.training
    try:
        yield
    finally:
        for instance, attributes in zip(objects, saved, strict=True):
            vars(instance).clear()
            vars(instance).update(attributes)
        model.train(training)
