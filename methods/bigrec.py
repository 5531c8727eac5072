"""BIGRec (Bao et al., 2023, arXiv 2308.08434): write the next title, then ground it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import Data, FineTuned, Model, Plain, Plan


@dataclass(frozen=True, kw_only=True)
class Method(FineTuned):
    """BIGRec: a language model fine-tuned to write the next title (Bao et al., arXiv 2308.08434).

    As SPRec runs it: greedy decoding, grounding by a sentence encoder. `as_published` has the loss
    on the prompt as well and no end-of-sequence token, as SPRec's program does.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"sft_loss": "sequence", "eos": False}

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune, write, ground."""
        policy = self.base(data, model, seed)
        return Plan(final=self.shown(policy, data))
