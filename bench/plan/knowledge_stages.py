"""Stages of knowledge in words: questions, external answers, text vectors, preference pairs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from bench.data.assets import encoder_checksums
from bench.errors import BenchError
from bench.hashing import checksum
from bench.plan.config import Config, NonNegativeFloat, NonNegativeInt, PositiveInt, plan_field
from bench.plan.language_stages import GenerationConfig, generate
from bench.plan.rerank_stages import (
    GRID_FIELDS,
    PARTS,
    SETRANK_FIELDS,
    Backbone,
    RerankerConfig,
    TrainingText,
    reset_fields,
)
from bench.plan.stage import SMALL_MODEL_GPUS, Stage
from bench.plan.types import Data, ListData, Model, Pairs, Policy, require_model

ITEM_SEED = 0

Subject: TypeAlias = Literal["users", "items"]


@dataclass(frozen=True, kw_only=True)
class QuestionsConfig(Config):
    """Config of `write_questions`."""

    about: Subject
    """Whether users or items are asked about."""
    parts: tuple[Literal["train", "valid", "test"], ...]
    """Parts of the lists whose users or items are asked about."""
    domain: Literal["movie", "book", "product"]
    """What the items are."""
    titles: Literal["keep", "fronted", "cleaned"]
    """How titles are written, see `bench.models.rerank.prompts`."""


def write_questions(lists: ListData, about: Subject, parts: tuple[str, ...] = PARTS) -> Stage:
    """Write a question about each user, or each item, of the lists of some parts."""
    config = QuestionsConfig(
        about=about,
        parts=parts,  # type: ignore[arg-type]
        domain=lists.domain,  # type: ignore[arg-type]
        titles=lists.titles,  # type: ignore[arg-type]
    )
    return Stage(kind="questions", config=config, inputs={"lists": lists.stage})


@dataclass(frozen=True, kw_only=True)
class ExternalAnswersConfig(Config):
    """Config of `collect_external_answers`."""

    about: Subject
    """Whether the questions are about users or items."""
    dataset: str
    """Name of the data set's card, under which answers are filed."""
    writer: str
    """Name of the model that answers."""
    max_new_tokens: PositiveInt
    """Maximum number of tokens per answer."""
    temperature: NonNegativeFloat
    """Sampling temperature, as the endpoint defines it."""
    top_p: NonNegativeFloat
    """Cumulative probability of the tokens sampled from, as the endpoint defines it."""
    file_checksum: str | None
    """sha256 of the file of answers; None if an endpoint adds to it."""


def collect_external_answers(
    lists: ListData,
    questions: Stage,
    about: Subject,
    *,
    dataset: str,
    writer: str,
    generation: GenerationConfig,
) -> Stage:
    """Collect answers of an external model: from a file of responses, or from an endpoint.

    The environment names them: BENCH_RESPONSES the file, BENCH_ENDPOINT (with BENCH_ENDPOINT_KEY)
    the address. The file's checksum is part of the key, unless an endpoint adds to the file. The
    model `writer` decodes as `generation` says; endpoints take no top_k.

    Raises:
        BenchError: The environment names neither, or a file that does not exist.
    """
    file, address = os.environ.get("BENCH_RESPONSES"), os.environ.get("BENCH_ENDPOINT")
    if not file and not address:
        raise BenchError(
            f"not run: neither an endpoint nor a file of responses is set for {writer}.",
            "Set BENCH_ENDPOINT (and BENCH_ENDPOINT_KEY), or BENCH_RESPONSES.",
        )
    if file and not address and not Path(file).is_file():
        raise BenchError(f"not run: BENCH_RESPONSES {file} does not exist.", "Check its spelling.")
    config = ExternalAnswersConfig(
        about=about,
        dataset=dataset,
        writer=writer,
        max_new_tokens=generation.max_new_tokens,
        temperature=generation.temperature,
        top_p=generation.top_p,
        file_checksum=checksum(Path(file)) if file and not address else None,
    )
    inputs = {"lists": lists.stage, "prompts": questions}
    return Stage(kind="responses", config=config, inputs=inputs)


@dataclass(frozen=True, kw_only=True)
class TextVectorsConfig(Config):
    """Config of `encode_answer_vectors`."""

    encoder: str = "all-minilm-l6-v2"
    """Sentence encoder (`bench list encoders`)."""
    user_text: Literal["history+answer", "answer"] = "history+answer"
    """What is encoded of a user: the history in the question and the answer as in KAR, or the
    answer only. Of an item it is always the answer."""
    long_text: Literal["windows", "truncate"] = "windows"
    """Whether long texts are averaged over windows, or cut after the first window as in KAR."""
    about: Subject = plan_field("users")
    """Whether the texts are about users or items."""
    encoder_checksums: Mapping[str, str] = plan_field(default_factory=dict)
    """Checksums of the encoder's files."""


def encode_answer_vectors(
    lists: ListData, questions: Stage, answers: Stage, about: Subject, config: TextVectorsConfig
) -> Stage:
    """Encode answers about users or items."""
    config = replace(
        config,
        about=about,
        encoder_checksums=encoder_checksums(config.encoder),
        # Of an item only the answer is read, so both kinds of user texts share its vectors.
        user_text=config.user_text if about == "users" else "answer",
    )
    inputs = {"lists": lists.stage, "prompts": questions, "answers": answers}
    return Stage(kind="text_vectors", config=config, inputs=inputs, gpus=SMALL_MODEL_GPUS)


@dataclass(frozen=True, kw_only=True)
class RewardPairsConfig(Config):
    """Config of `sample_reward_pairs` (DPO4Rec)."""

    backbone: Literal["same", "dlcm", "prm", "setrank"] = "same"
    """Backbone of the re-ranker that gives the rewards; "same" as the final re-ranker's."""
    num_folds: PositiveInt = 1
    """Folds of training users, each rewarded by a re-ranker trained on the others; 1 rewards all
    by one re-ranker trained on all."""
    training_text: TrainingText = "sampled"
    """Which text per user that re-ranker is trained on: one sampled per epoch, or the first."""
    margin: NonNegativeFloat = 0.0
    """A user gets no pair if the best and worst rewards differ by no more than this."""
    tie: Literal["loss", "first"] = "loss"
    """How equal rewards are ordered: by the re-ranker's loss, or by the order of the texts."""
    reranker: RerankerConfig = plan_field(RerankerConfig())
    """Hyperparameters of the re-ranker that gives the rewards: the center of KAR's grid, so that
    final re-rankers of other learning rates, decays and batches share the rewards."""
    seed: int = plan_field(0)
    """Decides that re-ranker and the folds."""


def sample_reward_pairs(
    lists: ListData,
    questions: Stage,
    answers: Stage,
    users: Stage,
    config: RewardPairsConfig,
    *,
    reranker: RerankerConfig,
    seed: int,
    items: Stage | None = None,
) -> Pairs:
    """Pair each training user's texts: the one that helps a re-ranker most is preferred.

    Lists of test users are not used. `users` are the vectors of several answers to each question,
    `items` those of texts about items. The config may replace the backbone of the final re-ranker.
    The seed decides the re-ranker and the folds.
    """
    backbone: Backbone = reranker.backbone if config.backbone == "same" else config.backbone
    if backbone != "setrank":
        reranker = reset_fields(reranker, SETRANK_FIELDS)
    # Fields that concern the test lists have no effect here, and equal work has equal keys.
    reranker = reset_fields(
        reranker, ("select_on", "scoring_text", "shuffle_user_texts", *GRID_FIELDS)
    )
    reranker = replace(reranker, backbone=backbone, training_text=config.training_text)
    config = replace(config, backbone=backbone, reranker=reranker, seed=seed)
    inputs = {"lists": lists.stage, "prompts": questions, "answers": answers, "users": users}
    if items is not None:
        inputs["items"] = items
    stage = Stage(kind="reward_pairs", config=config, inputs=inputs, gpus=SMALL_MODEL_GPUS)
    return Pairs(stage=stage, questions=questions)


# --- what KAR and DPO4Rec share -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class KnowledgeConfig(Config):
    """How a language model's texts about users and items are generated and encoded.

    Answers are sampled as LLaMA-Factory does by default.
    """

    texts: Literal["both", "users", "items"] = "both"
    """What the texts are about."""
    context: NonNegativeInt = 0
    """Maximum number of tokens of a question and its answer; 0 for the model card's."""
    generation: GenerationConfig = field(
        default_factory=lambda: GenerationConfig(
            max_new_tokens=256, temperature=0.95, top_k=50, top_p=0.7
        )
    )
    """How answers are decoded."""
    encoding: TextVectorsConfig = field(default_factory=TextVectorsConfig)
    """How answers are encoded."""


def extend_context(model: Model | None, knowledge: KnowledgeConfig) -> Model:
    """Return the model with the context of questions and answers.

    Raises:
        BenchError: No language model is set.
    """
    model = require_model(model)
    return replace(model, context=knowledge.context or model.context)


def ask_about_users(
    policy: Model | Policy,
    lists: ListData,
    generation: GenerationConfig,
    *,
    seed: int,
    parts: tuple[str, ...] = PARTS,
) -> tuple[Stage, Stage]:
    """Let a policy answer a question about each user; return the questions and the answers."""
    questions = write_questions(lists, "users", parts)
    return questions, generate(policy, questions, generation, seed=seed)


def describe_users(
    policy: Model | Policy, lists: ListData, knowledge: KnowledgeConfig, *, seed: int
) -> Stage | None:
    """Generate and encode a text about each user, unless the texts are about items only."""
    if knowledge.texts == "items":
        return None
    questions, answers = ask_about_users(policy, lists, knowledge.generation, seed=seed)
    return encode_answer_vectors(lists, questions, answers, "users", knowledge.encoding)


def describe_items(model: Model, lists: ListData, knowledge: KnowledgeConfig) -> Stage | None:
    """Generate and encode a text about each item, unless the texts are about users only.

    All seeds share these texts.
    """
    if knowledge.texts == "users":
        return None
    questions = write_questions(lists, "items")
    answers = generate(model, questions, knowledge.generation, seed=ITEM_SEED)
    return encode_answer_vectors(lists, questions, answers, "items", knowledge.encoding)


def describe_externally(
    data: Data, lists: ListData, about: Subject, knowledge: KnowledgeConfig, writer: str
) -> Stage | None:
    """Encode an external model's texts about users or items, if `knowledge.texts` includes them."""
    if knowledge.texts not in ("both", about):
        return None
    questions = write_questions(lists, about)
    answers = collect_external_answers(
        lists,
        questions,
        about,
        dataset=data.name,
        writer=writer,
        generation=knowledge.generation,
    )
    return encode_answer_vectors(lists, questions, answers, about, knowledge.encoding)
