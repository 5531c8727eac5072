"""All that a plug-in may import."""

from bench.data.catalogue import Catalogue
from bench.data.windows import Windows
from bench.plan import Data, Plan, Rows, Stage, draw, rank, sasrec
from bench.records import Plain, derive_seed

__all__ = [
    "Catalogue",
    "Data",
    "Plain",
    "Plan",
    "Rows",
    "Stage",
    "Windows",
    "derive_seed",
    "draw",
    "rank",
    "sasrec",
]
