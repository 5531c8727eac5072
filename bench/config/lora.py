"""LoRA: rank, alpha, dropout and target layers of a backbone's low-rank adapters."""

from __future__ import annotations

from pydantic import Field

from bench.config.toml import Card

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Lora(Card):
    """Low-rank adapters (Hu et al., ICLR 2022) on the named linear layers.

    The table `[lora]` of a backbone's card sets them; `bench.models.lm.tuned_model` builds them.
    """

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] = LINEAR_LAYERS
