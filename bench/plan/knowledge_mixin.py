"""What methods that give a re-ranker knowledge in words share (KAR, DPO4Rec)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bench.errors import BenchError
from bench.hashing import Plain
from bench.plan.knowledge_stages import questions, responses, text_vectors
from bench.plan.language_stages import GenerationConfig, generate
from bench.plan.policy import require_model
from bench.plan.rerank_mixin import Reranked, listed, one_of
from bench.plan.stage import Stage
from bench.plan.types import Data, Lists, Model, Policy

ALL = ("train", "valid", "test")
ITEM_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Knowing(Reranked):
    """Settings of methods whose re-ranker reads texts about users and items.

    Answers are drawn as LLaMA-Factory does by default, those about users by the trial's seed, those
    about items once for all seeds. `as_published` is KAR's program: the test lists choose the
    epoch, and what lies behind the encoder's window is not read.

    Attributes:
        backbone: "dlcm", "prm" or "setrank".
        texts: About whom there are some: "both", "users" or "items".
        shared_experts: Of the adapter, for both kinds of texts.
        dedicated_experts: Of the adapter, for each kind alone.
        setrank_loss: Of the backbone setrank: "kar_offset", "kar" or "softmax".
        setrank_temperature: Of it, too.
        answer_tokens: Most tokens of an answer.
        answer_context: Most tokens of a question and its answer; 0 for the model card's.
        answer_temperature: 0 for the likeliest tokens.
        answer_top_k: Likeliest tokens that answers are drawn from; 0 for all.
        answer_top_p: Probability that they have together.
        encoder: The sentence encoder (`bench list encoders`).
        user_text: What is read of a user: "history+answer" as KAR, or the "answer" alone.
        long_text: "windows" reads all of it, "truncate" the first window alone, as KAR.
        silent_share: Largest share of users, or of items, without a text that says anything; a
            trial with more fails.
        shuffle_texts: Every user gets the texts of another, to see that nothing else helps.
    """

    AS_PUBLISHED: ClassVar[dict[str, Plain]] = {"select_on": "test", "long_text": "truncate"}

    backbone: str = "prm"
    texts: str = "both"
    shared_experts: int = 2
    dedicated_experts: int = 5
    setrank_loss: str = "kar_offset"
    setrank_temperature: float = 0.5
    answer_tokens: int = 256
    answer_context: int = 0
    answer_temperature: float = 0.95
    answer_top_k: int = 50
    answer_top_p: float = 0.7
    encoder: str = "all-minilm-l6-v2"
    user_text: str = "history+answer"
    long_text: str = "windows"
    silent_share: float = 0.005
    shuffle_texts: bool = False

    def __post_init__(self) -> None:
        """Refuse what would mean nothing."""
        super().__post_init__()
        one_of(self, "backbone", ("dlcm", "prm", "setrank"))
        one_of(self, "texts", ("both", "users", "items"))
        one_of(self, "setrank_loss", ("kar_offset", "kar", "softmax"))
        one_of(self, "user_text", ("history+answer", "answer"))
        one_of(self, "long_text", ("windows", "truncate"))
        if (self.setrank_loss, self.setrank_temperature) != ("kar_offset", 0.5) and (
            "setrank" not in self.trained
        ):
            raise BenchError(
                "setrank_loss and setrank_temperature are SetRank's.", "Leave them out."
            )
        if self.shuffle_texts and self.texts == "items":
            raise BenchError("shuffle_texts needs texts about users.", 'Set texts = "both".')

    @property
    def trained(self) -> set[str]:
        """Which backbones it trains."""
        return {self.backbone}

    @property
    def networks(self) -> dict[str, Any]:
        """Arguments that `rerank` and `reward_pairs` share: the network, and what may be silent."""
        return {
            "shared": self.shared_experts,
            "dedicated": self.dedicated_experts,
            "setrank_loss": self.setrank_loss,
            "temperature": self.setrank_temperature,
            "silent_share": self.silent_share,
        }

    def known(self, data: Data) -> Lists:
        """Return the lists, if somebody can be asked about them.

        Raises:
            BenchError: There are none, or their items have no titles.
        """
        lists = listed(data)
        if not lists.described:
            raise BenchError(
                f"not run: without metadata the items of {data.name} have no titles to ask about.",
                "Put the metadata file into --data-dir.",
            )
        return lists

    def asked(self, model: Model | None) -> Model:
        """Return the model with the context that questions and answers need."""
        model = require_model(model)
        return replace(model, context=self.answer_context or model.context)

    def answered(
        self, policy: Model | Policy, lists: Lists, *, seed: int, num: int = 1, parts: Any = ALL
    ) -> tuple[Stage, Stage]:
        """Ask about users: the questions, and `num` answers to each."""
        prompts = questions(lists, about="users", parts=parts)
        return prompts, self._written(policy, prompts, seed=seed, num=num)

    def _written(self, policy: Model | Policy, prompts: Stage, *, seed: int, num: int) -> Stage:
        config = GenerationConfig(
            max_new_tokens=self.answer_tokens,
            temperature=self.answer_temperature,
            top_k=self.answer_top_k,
            top_p=self.answer_top_p,
            num_return_sequences=num,
        )
        return generate(policy, prompts, config, seed=seed)

    def read(self, lists: Lists, prompts: Stage, written: Stage, *, about: str) -> Stage:
        """Encode answers."""
        return text_vectors(
            lists,
            prompts,
            written,
            about=about,
            encoder=self.encoder,
            user_text=self.user_text,
            long_text=self.long_text,
        )

    def items_read(self, model: Model, lists: Lists) -> Stage | None:
        """Ask about all items and encode the answers, unless `texts` leaves them out."""
        if self.texts == "users":
            return None
        prompts = questions(lists, about="items", parts=ALL)
        written = self._written(model, prompts, seed=ITEM_SEED, num=1)
        return self.read(lists, prompts, written, about="items")

    def informed(
        self, start: Model | Policy, lists: Lists, items: Stage | None, *, seed: int
    ) -> Stage:
        """Let a policy write one text about every user, and train a re-ranker that reads it."""
        users = None
        if self.texts != "items":
            users = self.read(lists, *self.answered(start, lists, seed=seed), about="users")
        return self.with_texts(lists, users, items, seed=seed)

    def quoted(self, data: Data, lists: Lists, writer: str, *, seed: int) -> Stage:
        """Do the same with texts that a model elsewhere writes, those about items included."""
        vectors: dict[str, Stage | None] = {"users": None, "items": None}
        for about in ("users", "items"):
            if self.texts in ("both", about):
                prompts = questions(lists, about=about, parts=ALL)
                written = responses(
                    lists,
                    prompts,
                    about=about,
                    dataset=data.name,
                    writer=writer,
                    max_new_tokens=self.answer_tokens,
                    temperature=self.answer_temperature,
                    top_p=self.answer_top_p,
                )
                vectors[about] = self.read(lists, prompts, written, about=about)
        return self.with_texts(lists, vectors["users"], vectors["items"], seed=seed)

    def with_texts(
        self, lists: Lists, users: Stage | None, items: Stage | None, *, seed: int
    ) -> Stage:
        """Train a re-ranker that reads texts, and score the test lists."""
        return self.reranked(
            lists,
            self.backbone,
            seed,
            users=users,
            items=items,
            shuffle_users=self.shuffle_texts,
            **self.networks,
        )
