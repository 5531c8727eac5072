"""DPO4Rec (arXiv 2410.05939): a language model learns to write what helps a re-ranker."""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import (
    BenchError,
    Data,
    Knowing,
    Lists,
    Model,
    Pairs,
    Plan,
    Policy,
    PreferenceConfig,
    Stage,
    derive_seed,
    one_of,
    optimize_preferences,
    reward_pairs,
)

ASKED = ("train", "valid")


@dataclass(frozen=True, kw_only=True)
class Method(Knowing):
    """DPO4Rec: KAR, whose texts about users come from a model tuned by the re-ranker's rewards.

    In each round the model writes several texts about each training user; a re-ranker that reads
    them scores the user's own lists; the best text is preferred to the worst by DPO. Test users are
    asked for one text at the end, like everybody. What the paper leaves open is a setting.

    Attributes:
        dpo_rounds: Rounds; 0 is KAR.
        samples: Texts a user in each round.
        every_round: Whether the re-ranker is also trained after each earlier round, to be shown.
        reward_backbone: What gives rewards: "same" as `backbone`, or one of its kinds.
        reward_folds: Parts that training users are dealt into, each rewarded by a re-ranker that
            learned from the others; 1 for none.
        reward_text: Which text of a user that re-ranker learns from: "drawn" anew, or the "first".
        reward_margin: A user whose best and worst reward differ by no more has no pair.
        tie: Of equal rewards, "loss" decides by the re-ranker's loss; "first" takes the first text.
        reference: "previous", the weights before the round, or "base", the untuned model.
        beta: Strength of the pull to the reference.
        dpo_epochs: Passes over the pairs of a round.
        dpo_learning_rate: Its peak.
        dpo_batch: Pairs of one optimizer step.
    """

    dpo_rounds: int = 2
    samples: int = 10
    every_round: bool = False
    reward_backbone: str = "same"
    reward_folds: int = 1
    reward_text: str = "drawn"
    reward_margin: float = 0.0
    tie: str = "loss"
    reference: str = "previous"
    beta: float = 0.01
    dpo_epochs: int = 3
    dpo_learning_rate: float = 5e-5
    dpo_batch: int = 16

    def __post_init__(self) -> None:
        """Refuse what would mean nothing."""
        super().__post_init__()
        one_of(self, "reward_backbone", ("same", "dlcm", "prm", "setrank"))
        one_of(self, "reward_text", ("drawn", "first"))
        one_of(self, "tie", ("loss", "first"))
        one_of(self, "reference", ("previous", "base"))
        if self.samples < 2:
            raise BenchError("dpo4rec: a preference needs two texts.", "Set samples to 2 or more.")
        if self.texts == "items":
            raise BenchError("dpo4rec: preferences are about users' texts.", 'Set texts = "both".')

    @property
    def trained(self) -> set[str]:
        """Which backbones it trains, that of the rewards among them."""
        return {self.backbone, self.reward_backbone}

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Play the rounds, then ask once about everybody and train the re-ranker anew."""
        lists = self.known(data)
        base = Policy(model=self.asked(model))
        items = self.items_read(base.model, lists)
        policy, shown = base, {}
        for number in range(1, self.dpo_rounds + 1):
            if self.every_round:
                shown[f"round-{number - 1}"] = self.informed(policy, lists, items, seed=seed)
            own = derive_seed("dpo4rec", seed, number)
            policy = self._preferred(policy, base, lists, items, own)
        return Plan(ranking=self.informed(policy, lists, items, seed=seed), checkpoints=shown)

    def _preferred(
        self, policy: Policy, base: Policy, lists: Lists, items: Stage | None, seed: int
    ) -> Policy:
        prompts, written = self.answered(policy, lists, seed=seed, num=self.samples, parts=ASKED)
        pairs = reward_pairs(
            lists,
            prompts,
            written,
            self.read(lists, prompts, written, about="users"),
            items=items,
            backbone=self.backbone if self.reward_backbone == "same" else self.reward_backbone,
            recipe=self.recipe,
            fit_text=self.reward_text,
            folds=self.reward_folds,
            tie=self.tie,
            margin=self.reward_margin,
            seed=seed,
            **self.networks,
        )
        config = PreferenceConfig(
            beta=self.beta,
            num_train_epochs=self.dpo_epochs,
            learning_rate=self.dpo_learning_rate,
            batch_size=self.dpo_batch,
            warmup_steps=0,
        )
        return optimize_preferences(
            policy,
            Pairs(stage=pairs, questions=prompts),
            config,
            reference=base if self.reference == "base" else None,
            seed=seed,
        )
