"""BIGRec (Bao et al., 2023, arXiv 2308.08434): write the next title, then ground it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import BenchError, Constrained, Data, FineTuned, Grounded, Model, Plain, Plan

DECODINGS = ("grounded", "constrained")


@dataclass(frozen=True, kw_only=True)
class Method(FineTuned, Grounded, Constrained):
    """BIGRec: a language model fine-tuned to write the next title (Bao et al., arXiv 2308.08434).

    As SPRec runs it: greedy decoding, grounding by a sentence encoder. `as_published` has the loss
    on the prompt as well and no end-of-sequence token, as SPRec's program does. In the IGD paper
    the name stands for constrained beam search with length normalisation.

    Attributes:
        decoding: "grounded" writes freely, "constrained" only titles of the catalogue.
        beams: Of constrained decoding.
        length_penalty: Of constrained decoding.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"sft_loss": "sequence", "eos": False}
    SPACE: ClassVar[dict[str, Plain]] = {"sft_learning_rate": {"log_uniform": [1e-4, 3e-3]}}

    decoding: str = "grounded"
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an unknown way to decode."""
        if self.decoding not in DECODINGS:
            raise BenchError(
                f"bigrec: decoding is {self.decoding!r}.", f"One of {', '.join(DECODINGS)}."
            )

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune, write, ground."""
        policy = self.base(data, model, seed)
        if self.decoding == "constrained":
            return Plan(final=self.decoded(policy, data, eos=self.eos))
        return Plan(final=self.shown(policy, data))
