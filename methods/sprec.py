"""SPRec (Gao et al., WWW 2025, arXiv 2412.09243): self-play against popularity bias."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from bench.api import (
    BenchError,
    Data,
    DecodingConfig,
    Fraction,
    GenerationConfig,
    GroundingConfig,
    Model,
    NonNegativeInt,
    PairConfig,
    Pairs,
    Plain,
    Plan,
    Policy,
    PositiveFloat,
    PositiveInt,
    PreferenceConfig,
    Rows,
    SFTConfig,
    Stage,
    beam_search_rank,
    derive_seed,
    generate,
    generate_and_ground,
    optimize_preferences,
    require_model,
    sample_pairs,
    sample_rows,
    sft,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """SPRec: the model's own recommendations are the rejected responses (Gao et al., WWW 2025).

    Each round samples rows, generates a title for each, fine-tunes on the rows and then prefers
    their targets to the generated titles. Ablations and sweeps are settings: `sft_step`,
    `dpo_step`, `random_fraction` = 1 for random negatives, or `num_negatives` by beam search with
    S-DPO's loss. `reference` = "round" and `negatives` = "sampled" follow the paper's equations
    where its program does otherwise.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "sft.completion_only_loss": False,
        "sft.group_by_length": False,
        "sft.append_eos": False,
        "negative_tokens": 128,
        "preference.prompt_style": "bare",
    }
    SPACE: ClassVar[dict[str, Plain]] = {
        "preference.beta": {"choice": [0.05, 0.1, 0.3, 1.0]},
        "preference.learning_rate": {"loguniform": [3e-6, 1e-4]},
        "step_learning_rate": {"loguniform": [2e-5, 4e-4]},
    }
    RESOURCE: ClassVar[str] = "num_rounds"

    sft: SFTConfig = SFTConfig()
    preference: PreferenceConfig = PreferenceConfig()
    generation: GenerationConfig = GenerationConfig()
    grounding: GroundingConfig = GroundingConfig()
    decoding: DecodingConfig = DecodingConfig()
    constrained: bool = False
    """Decode titles of the catalog only (`decoding`), test cases and negatives alike: self-play on
    the host that IGD calls D3, instead of on BIGRec."""
    num_rounds: NonNegativeInt = 5
    """Rounds of self-play; with 0 the method is BIGRec."""
    round_rows: PositiveInt = 2048
    """Rows of a round's fine-tuning, and pairs of its preference optimization."""
    pool_rows: NonNegativeInt = 0
    """Number of training rows that rounds sample from; 0 for all (the 1,024 samples of Figs. 5 and
    6 may mean this, with 512 per round)."""
    spare_rows: NonNegativeInt = 756
    """Further rows that titles are generated for, since some texts are no title."""
    step_learning_rate: PositiveFloat = 2e-5
    """Learning rate of a round's fine-tuning; its other hyper-parameters are those of `sft`."""
    sft_step: bool = True
    """Whether rounds fine-tune; without it the method is SPRec-noSFT."""
    dpo_step: bool = True
    """Whether rounds optimize preferences; without it the method is SPRec-noDPO."""
    random_fraction: Fraction = 0.0
    """Fraction of the pairs whose rejected response is a random item (Fig. 5)."""
    negatives: Literal["greedy", "sampled", "beam"] = "greedy"
    """How titles are generated: greedily, sampled at temperature 1, or by beam search."""
    num_negatives: PositiveInt = 1
    """Rejected responses per pair; more than one need "beam", with twice as many beams (Fig. 6)."""
    negative_tokens: PositiveInt = 32
    """Maximum number of tokens of a generated title."""
    ground_negatives: bool = False
    """Whether generated titles are replaced by the nearest item's title."""
    reference: Literal["step", "round"] = "step"
    """Reference policy: the weights after the round's fine-tuning, or those before it."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Play the rounds; BIGRec's checkpoint and every step of every round may be shown."""
        if self.num_negatives > 1 and self.negatives == "greedy" and self.random_fraction < 1:
            raise BenchError(
                "sprec: greedy decoding generates one title only.", 'Set negatives = "beam".'
            )
        if self.constrained and (self.negatives == "sampled" or self.ground_negatives):
            raise BenchError(
                "sprec: constrained decoding neither samples nor needs grounding.",
                "Leave out negatives and ground_negatives.",
            )
        policy = sft(require_model(model), data.train, self.sft, seed=seed, valid=data.valid)
        ranking = self._rank(policy, data)
        checkpoints = {"0": ranking} if self.num_rounds else {}
        rows = data.train
        if self.pool_rows:
            rows = sample_rows(rows, self.pool_rows, seed=derive_seed("sprec", seed, "pool"))
        for number in range(1, self.num_rounds + 1):
            round_seed = derive_seed("sprec", seed, number)
            before = policy
            if self.sft_step:
                policy = self._fine_tune(policy, rows, round_seed)
                ranking = self._rank(policy, data)
                checkpoints[f"{number}-sft"] = ranking
            if self.dpo_step:
                pairs = self._sample_pairs(before, rows, round_seed)
                policy = self._optimize(policy, pairs, before, round_seed)
                ranking = self._rank(policy, data)
                checkpoints[f"{number}-dpo"] = ranking
        return Plan(ranking=ranking, checkpoints=checkpoints)

    def _rank(self, policy: Policy, data: Data) -> Stage:
        if self.constrained:
            return beam_search_rank(policy, data.test, data.train, self.decoding)
        return generate_and_ground(policy, data, self.generation, self.grounding)

    def _fine_tune(self, policy: Policy, rows: Rows, seed: int) -> Policy:
        config = replace(
            self.sft,
            num_train_epochs=1,
            learning_rate=self.step_learning_rate,
            early_stopping_patience=0,
        )
        return sft(policy, sample_rows(rows, self.round_rows, seed=seed), config, seed=seed)

    def _optimize(self, policy: Policy, pairs: Pairs, before: Policy, seed: int) -> Policy:
        config = self.preference
        if self.num_negatives > 1 and config.loss == "dpo":
            config = replace(config, loss="sdpo")
        reference = before if self.reference == "round" else None
        return optimize_preferences(policy, pairs, config, seed=seed, reference=reference)

    def _sample_pairs(self, policy: Policy, rows: Rows, seed: int) -> Pairs:
        """Generate titles for the round's rows, which come first, and for the spare rows."""
        rows = sample_rows(rows, self.round_rows + self.spare_rows, seed=seed)
        generated = recommended = None
        num = 1 if self.negatives == "greedy" else 2 * self.num_negatives
        if self.constrained and self.random_fraction < 1:
            decoding = replace(self.decoding, num_beams=num, depth=num)
            recommended = beam_search_rank(policy, rows, rows, decoding)
        elif self.random_fraction < 1:
            generation = replace(
                self.generation,
                max_new_tokens=self.negative_tokens,
                temperature=1.0 if self.negatives == "sampled" else 0.0,
                num_beams=num if self.negatives == "beam" else 1,
                num_return_sequences=num,
            )
            generated = generate(policy, rows, generation, seed=seed)
        config = PairConfig(
            max_pairs=self.round_rows,
            num_negatives=self.num_negatives,
            random_fraction=self.random_fraction,
            encoder=self.grounding.encoder if self.ground_negatives else "",
        )
        return sample_pairs(rows, config, seed=seed, generated=generated, recommended=recommended)
