"""D3 (Bao et al., EMNLP 2024, arXiv 2406.14900): debiased and diversified decoding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bench.api import (
    Data,
    DecodingConfig,
    Fraction,
    Model,
    Plain,
    Plan,
    SASRecConfig,
    SFTConfig,
    beam_search_rank,
    require_model,
    sft,
    train_sasrec,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """D3: BIGRec's checkpoint decoded without length normalization, guided by SASRec (Bao, 2024).

    The papers do not give alpha. The released commands leave it at 1, which is no guidance at all:
    that is `as_published`, with the programs' beam search, and what the IGD paper calls D3.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"alpha": 1.0, "decoding.ending": "ranked"}
    SPACE: ClassVar[dict[str, Plain]] = {"alpha": {"choice": [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]}}

    sft: SFTConfig = SFTConfig()
    decoding: DecodingConfig = DecodingConfig()
    assistant: SASRecConfig = SASRecConfig()
    """SASRec, which guides the search."""
    alpha: Fraction = 0.8
    """Weight of the language model in the mixture with SASRec."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune as BIGRec does, then decode titles of the catalog only."""
        policy = sft(require_model(model), data.train, self.sft, seed=seed, valid=data.valid)
        oracle = train_sasrec(data.train, data.valid, self.assistant, seed=seed)
        decoding = replace(self.decoding, model_weight=self.alpha)
        ranking = beam_search_rank(policy, data.test, data.train, decoding, oracle=oracle)
        return Plan(ranking=ranking)
