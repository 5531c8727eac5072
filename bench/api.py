"""All that a plug-in may import."""

from bench.data.catalogue import Catalogue
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.plan import (
    Data,
    FineTuned,
    Grounded,
    Model,
    Pairs,
    Plan,
    Policy,
    Rows,
    Stage,
    draw,
    embed,
    generate,
    ground,
    needed,
    pairs,
    preference,
    rank,
    sample,
    sasrec,
    sft,
)
from bench.records import Plain, derive_seed

__all__ = [
    "BenchError",
    "Catalogue",
    "Data",
    "FineTuned",
    "Grounded",
    "Model",
    "Pairs",
    "Plain",
    "Plan",
    "Policy",
    "Rows",
    "Stage",
    "Windows",
    "derive_seed",
    "draw",
    "embed",
    "generate",
    "ground",
    "needed",
    "pairs",
    "preference",
    "rank",
    "sample",
    "sasrec",
    "sft",
]
