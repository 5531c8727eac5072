"""All that a plug-in may import."""

from bench.data.catalog import Catalog
from bench.data.sessions import (
    count_transitions,
    feature_vectors,
    last_items,
    recency_weights,
    session_matrix,
)
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.hashing import Plain, derive_seed
from bench.metrics.metric import CategoryMass, ItemCounts, Metric, RankedCases
from bench.plan.config import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from bench.plan.decoding_stages import DecodingConfig, beam_search_rank
from bench.plan.grounding_stages import GroundingConfig, embed_titles, ground
from bench.plan.item_stages import (
    GRU4RecConfig,
    SASRecConfig,
    rank,
    sample_rows,
    train_gru4rec,
    train_sasrec,
)
from bench.plan.knowledge_stages import (
    KnowledgeConfig,
    RewardPairsConfig,
    TextVectorsConfig,
    ask_about_users,
    collect_external_answers,
    describe_externally,
    describe_items,
    describe_users,
    encode_answer_vectors,
    extend_context,
    sample_reward_pairs,
    write_questions,
)
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
from bench.plan.rerank_stages import (
    RERANKER_SPACE,
    ListOrderConfig,
    RerankerConfig,
    order_lists,
    require_lists,
    rerank_lists,
)
from bench.plan.selection import select_on_validation, select_ranking
from bench.plan.stage import Stage
from bench.plan.types import Data, ListData, Model, Pairs, Plan, Policy, Rows

__all__ = [
    "RERANKER_SPACE",
    "BenchError",
    "Catalog",
    "CategoryMass",
    "Data",
    "DecodingConfig",
    "Fraction",
    "GRU4RecConfig",
    "GenerationConfig",
    "GroundingConfig",
    "ItemCounts",
    "KnowledgeConfig",
    "ListData",
    "ListOrderConfig",
    "Metric",
    "Model",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PairConfig",
    "Pairs",
    "Plain",
    "Plan",
    "Policy",
    "PositiveFloat",
    "PositiveInt",
    "PreferenceConfig",
    "RankedCases",
    "RerankerConfig",
    "RewardPairsConfig",
    "Rows",
    "SASRecConfig",
    "SFTConfig",
    "Stage",
    "TextVectorsConfig",
    "Windows",
    "ask_about_users",
    "beam_search_rank",
    "collect_external_answers",
    "count_transitions",
    "derive_seed",
    "describe_externally",
    "describe_items",
    "describe_users",
    "embed_titles",
    "encode_answer_vectors",
    "extend_context",
    "feature_vectors",
    "generate",
    "generate_and_ground",
    "ground",
    "last_items",
    "optimize_preferences",
    "order_lists",
    "rank",
    "recency_weights",
    "require_lists",
    "require_model",
    "rerank_lists",
    "sample_pairs",
    "sample_reward_pairs",
    "sample_rows",
    "select_on_validation",
    "select_ranking",
    "session_matrix",
    "sft",
    "train_gru4rec",
    "train_sasrec",
    "write_questions",
]
