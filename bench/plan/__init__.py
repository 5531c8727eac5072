"""Plans: stages, what they are put together from, and the functions that compose them."""

from bench.plan.backbones import language_model
from bench.plan.constrained import decode
from bench.plan.items import DEPTH, draw, evaluate, gru4rec, prepare, rank, sample, sasrec
from bench.plan.language import embed, generate, ground, pairs, preference, sft
from bench.plan.parts import Data, Model, Nouns, Pairs, Plan, Policy, Rows
from bench.plan.recipes import Constrained, FineTuned, Grounded, Preferring, needed
from bench.plan.stage import Stage

__all__ = [
    "DEPTH",
    "Constrained",
    "Data",
    "FineTuned",
    "Grounded",
    "Model",
    "Nouns",
    "Pairs",
    "Plan",
    "Policy",
    "Preferring",
    "Rows",
    "Stage",
    "decode",
    "draw",
    "embed",
    "evaluate",
    "generate",
    "ground",
    "gru4rec",
    "language_model",
    "needed",
    "pairs",
    "preference",
    "prepare",
    "rank",
    "sample",
    "sasrec",
    "sft",
]
