"""Plans: stages, what they are put together from, and the functions that compose them."""

from bench.plan.backbones import language_model
from bench.plan.decoding_stages import decode
from bench.plan.grounding_stages import embed, ground
from bench.plan.item_stages import DEPTH, draw, evaluate, gru4rec, prepare, rank, sample, sasrec
from bench.plan.knowledge_mixin import Knowing
from bench.plan.knowledge_stages import (
    answer_preference,
    answers,
    questions,
    responses,
    reward_pairs,
    text_vectors,
)
from bench.plan.language_mixins import Constrained, FineTuned, Grounded, Preferring, needed
from bench.plan.language_stages import generate, pairs, preference, sft
from bench.plan.rerank_mixin import Reranked, listed, one_of
from bench.plan.rerank_stages import evaluate_lists, lists, order, rerank
from bench.plan.selection import chosen, select
from bench.plan.stage import Stage
from bench.plan.types import Data, Lists, Model, Nouns, Pairs, Plan, Policy, Rows

__all__ = [
    "DEPTH",
    "Constrained",
    "Data",
    "FineTuned",
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
    "gru4rec",
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
    "sasrec",
    "select",
    "sft",
    "text_vectors",
]
