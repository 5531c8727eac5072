"""Plans: stages, what they are put together from, and the functions that compose them."""

from bench.plan.backbones import language_model
from bench.plan.choice import chosen, select
from bench.plan.constrained import decode
from bench.plan.grounding import embed, ground
from bench.plan.items import DEPTH, draw, evaluate, gru4rec, prepare, rank, sample, sasrec
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
