"""BIGRec (Bao et al., 2023, arXiv 2308.08434): write the next title, then ground it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import (
    BenchError,
    Constrained,
    Data,
    FineTuned,
    Grounded,
    Model,
    Plain,
    Plan,
    Stage,
    chosen,
    train_sasrec,
)

CHOICES = {"decoding": ("grounded", "constrained"), "preferred_by": ("popularity", "sasrec")}


@dataclass(frozen=True, kw_only=True)
class Method(FineTuned, Grounded, Constrained):
    """BIGRec: a language model fine-tuned to write the next title (Bao et al., arXiv 2308.08434).

    As SPRec runs it: greedy decoding, grounding by a sentence encoder. `as_published` has the loss
    on the prompt as well and no end-of-sequence token, as SPRec's program does. BIGRec's own
    grounds by the backbone (`encoder` = "backbone") and may draw preferred items nearer (`gamma`).
    In the IGD paper the name stands for constrained beam search with length normalisation.

    Attributes:
        decoding: "grounded" writes freely, "constrained" only titles of the catalogue.
        beams: Of constrained decoding.
        length_penalty: Of constrained decoding.
        gamma: How much preferred items are drawn nearer to what was written; 0 for not at all.
        gammas: Several, of which the best on validation is taken instead.
        chosen_by: The metric that decides between them.
        preferred_by: "popularity" among the training targets, or "sasrec" for its scores.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"sft_loss": "sequence", "eos": False}
    SPACE: ClassVar[dict[str, Plain]] = {"sft_learning_rate": {"log_uniform": [1e-4, 3e-3]}}

    decoding: str = "grounded"
    length_penalty: float = 1.0
    gamma: float = 0.0
    gammas: tuple[float, ...] = ()
    chosen_by: str = "NDCG@5"
    preferred_by: str = "popularity"

    def __post_init__(self) -> None:
        """Refuse what would mean nothing."""
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise BenchError(
                    f"bigrec: {name} is {getattr(self, name)!r}.", f"One of {', '.join(choices)}."
                )
        if self.decoding == "constrained" and (self.gamma or self.gammas):
            raise BenchError(
                "bigrec: constrained decoding grounds nothing that gamma could act on.",
                'Leave gamma out, or set decoding = "grounded".',
            )

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Fine-tune, write, ground."""
        policy = self.base(data, model, seed)
        if self.decoding == "constrained":
            return Plan(final=self.decoded(policy, data, eos=self.eos))
        oracle = train_sasrec(data.train, data.valid, seed=seed)
        preferred = {"oracle": oracle} if self.preferred_by == "sasrec" else {"train": data.train}

        def shown(cases: Data, gamma: float) -> Stage:
            return self.shown(policy, cases, gamma=gamma, **preferred)

        gammas = self.gammas or (self.gamma,)
        return Plan(final=chosen(gammas, shown, data, metric=self.chosen_by))
