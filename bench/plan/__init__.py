"""Plans: stages, what they are put together from, and the functions that compose them."""

from bench.plan.backbones import language_model
from bench.plan.choice import chosen, select
from bench.plan.constrained import decode
from bench.plan.grounding import embed, ground
from bench.plan.items import (
    DEPTH,
    GRU4RecConfig,
    SASRecConfig,
    draw,
    evaluate,
    prepare,
    rank,
    sample,
    train_gru4rec,
    train_sasrec,
)
from bench.plan.knowing import Knowing
from bench.plan.knowledge import (
    answer_preference,
    answers,
    questions,
    responses,
    reward_pairs,
    text_vectors,
)
from bench.plan.language import generate, pairs, preference, sft
from bench.plan.listwise import evaluate_lists, lists, order, rerank
from bench.plan.parts import Data, Lists, Model, Nouns, Pairs, Plan, Policy, Rows
from bench.plan.recipes import Constrained, FineTuned, Grounded, Preferring, needed
from bench.plan.reranking import Reranked, listed, one_of
from bench.plan.stage import Stage

__all__ = [
    "DEPTH",
    "Constrained",
    "Data",
    "FineTuned",
    "GRU4RecConfig",
    "Grounded",
    "Knowing",
    "Lists",
    "Model",
    "Nouns",
    "Pairs",
    "Plan",
    "Policy",
    "Preferring",
    "Reranked",
    "Rows",
    "SASRecConfig",
    "Stage",
    "answer_preference",
    "answers",
    "chosen",
    "decode",
    "draw",
    "embed",
    "evaluate",
    "evaluate_lists",
    "generate",
    "ground",
    "language_model",
    "listed",
    "lists",
    "needed",
    "one_of",
    "order",
    "pairs",
    "preference",
    "prepare",
    "questions",
    "rank",
    "rerank",
    "responses",
    "reward_pairs",
    "sample",
    "select",
    "sft",
    "text_vectors",
    "train_gru4rec",
    "train_sasrec",
]
