"""Plans: stages, their configs, and the functions that compose them."""

from bench.plan.backbones import language_model
from bench.plan.decoding_stages import DecodingConfig, beam_search_rank
from bench.plan.grounding_stages import GroundingConfig, embed_titles, ground
from bench.plan.item_stages import (
    DEPTH,
    DrawConfig,
    PrepareConfig,
    draw_rows,
    evaluate,
    gru4rec,
    prepare_data,
    rank,
    sample_rows,
    sasrec,
)
from bench.plan.knowledge_mixin import Knowing
from bench.plan.knowledge_stages import questions, responses, reward_pairs, text_vectors
from bench.plan.language_stages import (
    GenerationConfig,
    SFTConfig,
    generate,
    generate_and_ground,
    sft,
)
from bench.plan.policy import require_model
from bench.plan.preference_stages import (
    PairConfig,
    PreferenceConfig,
    optimize_preferences,
    sample_pairs,
)
from bench.plan.rerank_mixin import Reranked, listed, one_of
from bench.plan.rerank_stages import evaluate_lists, lists, order, rerank
from bench.plan.selection import select_on_validation, select_ranking
from bench.plan.stage import Stage
from bench.plan.types import Data, Lists, Model, Nouns, Pairs, Plan, Policy, Rows

__all__ = [
    "DEPTH",
    "Data",
    "DecodingConfig",
    "DrawConfig",
    "GenerationConfig",
    "GroundingConfig",
    "Knowing",
    "Lists",
    "Model",
    "Nouns",
    "PairConfig",
    "Pairs",
    "Plan",
    "Policy",
    "PreferenceConfig",
    "PrepareConfig",
    "Reranked",
    "Rows",
    "SFTConfig",
    "Stage",
    "beam_search_rank",
    "draw_rows",
    "embed_titles",
    "evaluate",
    "evaluate_lists",
    "generate",
    "generate_and_ground",
    "ground",
    "gru4rec",
    "language_model",
    "listed",
    "lists",
    "one_of",
    "optimize_preferences",
    "order",
    "prepare_data",
    "questions",
    "rank",
    "require_model",
    "rerank",
    "responses",
    "reward_pairs",
    "sample_pairs",
    "sample_rows",
    "sasrec",
    "select_on_validation",
    "select_ranking",
    "sft",
    "text_vectors",
]
