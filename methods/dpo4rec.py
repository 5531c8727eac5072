"""DPO4Rec (arXiv 2410.05939): a language model learns to write what helps a re-ranker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bench.api import (
    RERANKER_SPACE,
    BenchError,
    Data,
    KnowledgeConfig,
    Model,
    NonNegativeInt,
    Plain,
    Plan,
    Policy,
    PreferenceConfig,
    RerankerConfig,
    RewardPairsConfig,
    Stage,
    ask_about_users,
    derive_seed,
    describe_items,
    describe_users,
    encode_answer_vectors,
    extend_context,
    optimize_preferences,
    require_lists,
    rerank_lists,
    sample_reward_pairs,
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """DPO4Rec: KAR, whose texts about users come from a model tuned by a re-ranker's rewards.

    In each round the model writes several texts about each training user; a re-ranker that reads
    them scores the user's own lists; DPO prefers the best text to the worst. Test users are asked
    about once, after the last round. What the paper leaves open is a setting.
    """

    TASK: ClassVar[str] = "rerank"
    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {
        "reranker.select_on": "test",
        "knowledge.encoding.long_text": "truncate",
    }
    SPACE: ClassVar[Mapping[str, Plain]] = RERANKER_SPACE

    knowledge: KnowledgeConfig = KnowledgeConfig()
    """How texts are generated and encoded."""
    reranker: RerankerConfig = RerankerConfig()
    """How the final re-ranker is trained."""
    rewards: RewardPairsConfig = RewardPairsConfig()
    """How texts are rewarded and paired."""
    dpo: PreferenceConfig = PreferenceConfig(
        beta=0.01,
        num_train_epochs=3,
        learning_rate=5e-5,
        batch_size=16,
        warmup_steps=0,
        trainer={"lr_scheduler_type": "cosine"},
    )
    """How the language model is tuned in each round: as LLaMA-Factory's page does by default, whose
    values the paper states as far as it states any."""
    num_dpo_rounds: NonNegativeInt = 2
    """Rounds of DPO; 0 is KAR."""
    num_samples: Annotated[int, Field(ge=2)] = 10
    """Texts per user in each round."""
    evaluate_rounds: bool = False
    """Whether a re-ranker is also trained and evaluated after each earlier round."""
    reference: Literal["previous", "base"] = "previous"
    """Reference policy of DPO: the weights before the round, or the untuned model."""

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Run the rounds, then generate a text about every user and train the re-ranker."""
        if self.knowledge.texts == "items":
            raise BenchError(
                "dpo4rec: preferences are between texts about users.",
                "Set knowledge.texts to both or users.",
            )
        lists = require_lists(data, described=True)
        base = Policy(model=extend_context(model, self.knowledge))
        items = describe_items(base.model, lists, self.knowledge)

        def rerank(policy: Policy) -> Stage:
            users = describe_users(policy, lists, self.knowledge, seed=seed)
            return rerank_lists(lists, self.reranker, seed=seed, users=users, items=items)

        samples = replace(self.knowledge.generation, num_return_sequences=self.num_samples)
        policy, checkpoints = base, {}
        for number in range(1, self.num_dpo_rounds + 1):
            if self.evaluate_rounds:
                checkpoints[f"round-{number - 1}"] = rerank(policy)
            round_seed = derive_seed("dpo4rec", seed, number)
            questions, answers = ask_about_users(
                policy, lists, samples, seed=round_seed, parts=("train", "valid")
            )
            pairs = sample_reward_pairs(
                lists,
                questions,
                answers,
                encode_answer_vectors(lists, questions, answers, "users", self.knowledge.encoding),
                self.rewards,
                reranker=self.reranker,
                seed=round_seed,
                items=items,
            )
            reference = base if self.reference == "base" else None
            policy = optimize_preferences(
                policy, pairs, self.dpo, seed=round_seed, reference=reference
            )
        return Plan(ranking=rerank(policy), checkpoints=checkpoints)
