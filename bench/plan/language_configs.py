"""Configs that the trainers and the generation of language models read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """How stages compute with a backbone."""

    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a language model is trained: AdamW, linear warm-up, linear decay to 0."""

    model: ModelSpec = ModelSpec()
    num_train_epochs: int = 1
    learning_rate: float = 2e-5
    batch_size: int = 8
    warmup_steps: int = 20
    trainer: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainingConfig):
    """How a language model is fine-tuned."""

    early_stopping_patience: int = 0
    completion_only_loss: bool = True
    mean_over: str = "tokens"
    counterfactual_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(TrainingConfig):
    """How preferences are optimized."""

    beta: float = 0.1


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How texts are generated."""

    max_new_tokens: int = 32
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    num_beams: int = 1
    num_return_sequences: int = 1
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How titles are searched."""

    num_beams: int = 10
    max_num_beams: int | None = None
    length_penalty: float = 0.0
    temperature: float = 1.0
