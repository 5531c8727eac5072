"""SPRec (Gao et al., WWW 2025, arXiv 2412.09243): self-play against popularity bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import (
    BenchError,
    Data,
    Grounded,
    Model,
    Pairs,
    Plain,
    Plan,
    Policy,
    Preferring,
    Rows,
    Stage,
    derive_seed,
    generate,
    pairs,
    sample,
    sft,
)

CHOICES = {
    "negatives": ("greedy", "sampled", "beam"),
    "reference": ("step", "round"),
    "preference_prompt": ("wrapped", "bare"),
}


@dataclass(frozen=True, kw_only=True)
class Method(Preferring, Grounded):
    """SPRec: what the model itself recommends is the rejected response (Gao et al., WWW 2025).

    Each round draws rows, lets the model write a title for each, fine-tunes on the rows and then
    prefers their targets to what was written. Ablations and sweeps are settings: `sft_step`,
    `dpo_step`, `random_share` = 1 for random negatives, or `num_negatives` by beam search with
    S-DPO's loss. `reference` = "round" and `negatives` = "sampled" follow the paper's equations
    where its program does otherwise.

    Attributes:
        rounds: Rounds of self-play; 0 is BIGRec.
        round_rows: Rows of one round's fine-tuning, and pairs of its preferences.
        pool_rows: Rounds draw from so many training rows instead of all of them; 0 for all (the
            1,024 samples of Figs. 5 and 6 may be meant so, with 512 a round).
        spare_rows: Further rows that titles are written for, since some are no title.
        step_learning_rate: Of a round's fine-tuning.
        sft_step: Whether a round fine-tunes (no: SPRec-noSFT).
        dpo_step: Whether a round optimizes preferences (no: SPRec-noDPO).
        random_share: Share of the pairs whose rejected response is a random item (Fig. 5).
        negatives: How titles are written: "greedy", "sampled" at temperature 1, or "beam".
        num_negatives: Rejected responses a pair; several need "beam", twice as many beams (Fig. 6).
        negative_tokens: Most tokens of a written title.
        ground_negatives: Whether written titles become the nearest item's.
        reference: "step", the weights after the round's fine-tuning, or "round", those before it.
        preference_prompt: "wrapped", or "bare" as in the program.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "sft_loss": "sequence",
        "eos": False,
        "negative_tokens": 128,
        "preference_prompt": "bare",
    }
    SPACE: ClassVar[dict[str, Plain]] = {
        "beta": {"choices": [0.05, 0.1, 0.3, 1.0]},
        "preference_learning_rate": {"log_uniform": [3e-6, 1e-4]},
        "step_learning_rate": {"log_uniform": [2e-5, 4e-4]},
    }
    RESOURCE: ClassVar[str] = "rounds"

    rounds: int = 5
    round_rows: int = 2048
    pool_rows: int = 0
    spare_rows: int = 756
    step_learning_rate: float = 2e-5
    sft_step: bool = True
    dpo_step: bool = True
    random_share: float = 0.0
    negatives: str = "greedy"
    num_negatives: int = 1
    negative_tokens: int = 32
    ground_negatives: bool = False
    reference: str = "step"
    preference_prompt: str = "wrapped"

    def __post_init__(self) -> None:
        """Refuse what would mean nothing."""
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise BenchError(
                    f"sprec: {name} is {getattr(self, name)!r}.", f"One of {', '.join(choices)}."
                )
        if self.num_negatives > 1 and self.negatives == "greedy" and self.random_share < 1:
            raise BenchError(
                "sprec: greedy decoding writes one title only.", "Add negatives = 'beam'."
            )

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Play the rounds; every step of every round is a checkpoint that boards may show."""
        policy = self.base(data, model, seed)
        final, steps = self.shown(policy, data), {}
        rows = data.train
        if self.pool_rows:
            rows = sample(rows, self.pool_rows, seed=derive_seed("sprec", seed, "pool"))
        for number in range(1, self.rounds + 1):
            own = derive_seed("sprec", seed, number)
            before = policy
            if self.sft_step:
                policy = self._fine_tuned(policy, rows, own)
                steps[f"{number}-sft"] = final = self.shown(policy, data)
            if self.dpo_step:
                policy = self.preferring(
                    policy,
                    self._pairs(before, rows, own),
                    loss="dpo" if self.num_negatives == 1 else "sdpo",
                    reference=before if self.reference == "round" else None,
                    prompt=self.preference_prompt,
                    seed=own,
                )
                steps[f"{number}-dpo"] = final = self.shown(policy, data)
        return Plan(final=final, checkpoints=steps)

    def _fine_tuned(self, policy: Policy, train: Rows, seed: int) -> Policy:
        return sft(
            policy,
            sample(train, self.round_rows, seed=seed),
            epochs=1,
            learning_rate=self.step_learning_rate,
            batch=self.sft_batch,
            loss_on=self.sft_loss,
            eos=self.eos,
            seed=seed,
        )

    def _pairs(self, policy: Policy, train: Rows, seed: int) -> Pairs:
        """The round's rows come first among those that titles are written for."""
        rows = sample(train, self.round_rows + self.spare_rows, seed=seed)
        return pairs(
            rows,
            take=self.round_rows,
            generated=None if self.random_share == 1 else self._written(policy, rows, seed),
            num=self.num_negatives,
            random_share=self.random_share,
            grounded=self.encoder if self.ground_negatives else "",
            seed=seed,
        )

    def _written(self, policy: Policy, rows: Rows, seed: int) -> Stage:
        num = 1 if self.negatives == "greedy" else 2 * self.num_negatives
        return generate(
            policy,
            rows,
            max_new_tokens=self.negative_tokens,
            temperature=1.0 if self.negatives == "sampled" else 0.0,
            beams=num if self.negatives == "beam" else 1,
            num=num,
            seed=seed,
        )
