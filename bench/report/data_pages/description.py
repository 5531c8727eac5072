"""Numbers that describe a prepared data set, each with the definition that makes it checkable.

The papers' tables count different things under one word (SPRec's "#Sequences" are windows in one
row and probably users in two), so every definition stands by itself here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.case_strata import tied_share
from bench.data.prepared import SPLITS, Prepared
from bench.metrics.diversity import gini

QUANTILES = {"min": 0.0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "max": 1.0}


@dataclass(frozen=True, kw_only=True)
class Description:
    """A data set in numbers.

    Attributes:
        counts: Sizes: users, items, titles, interactions, samples by split, rejects.
        sequences: By definition: users with a history, users long enough for a sample, windows.
        density: Interactions over users × items with interactions.
        repeats: Share of samples whose target is in their own history.
        ties: Share of the targets with the timestamp of the history's last item, by split; equal
            times are in order of the raw file's lines.
        sequence_lengths: Interactions a user, by quantile.
        history_lengths: Items in a sample's history, by quantile.
        item_popularity: Interactions an item of the catalog, by quantile.
        popularity_gini: Evenness of the interactions over the catalog; 0 even, towards 1 uneven.
        top_tenth: Share of the interactions that falls on the most popular tenth of the items.
        categories: Share of the training interactions' category mass, tracked categories only.
        title_words: Words a title, split on white space, by quantile.
    """

    counts: dict[str, int]
    sequences: dict[str, int]
    density: float
    repeats: float
    ties: dict[str, float]
    sequence_lengths: dict[str, float]
    history_lengths: dict[str, float]
    item_popularity: dict[str, float]
    popularity_gini: float
    top_tenth: float
    categories: dict[str, float]
    title_words: dict[str, float]


def describe(prepared: Prepared) -> Description:
    """Describe a prepared data set."""
    catalog = prepared.catalog
    lengths = np.bincount(prepared.users)
    popularity = np.bincount(prepared.items, minlength=len(catalog))
    windows = prepared.windows(np.arange(len(prepared.target)))
    again = (windows.histories == windows.targets[:, np.newaxis]).any(axis=1)
    mass = catalog.shares[prepared.items[prepared.train_interactions()]].sum(axis=0)
    total = float(mass.sum()) or 1.0
    num_seen = int(np.count_nonzero(popularity)) or 1
    ranked = np.sort(popularity)[::-1]
    tenth = max(1, len(catalog) // 10)
    return Description(
        counts=dict(prepared.counts),
        sequences={
            "users": len(lengths),
            "users with a sample": len(np.unique(prepared.users[prepared.target])),
            "windows": len(prepared.target),
            **{f"windows, {split}": prepared.num(split) for split in SPLITS},
        },
        density=len(prepared.items) / (len(lengths) * num_seen),
        repeats=float(again.mean()),
        ties={split: tied_share(prepared, split) for split in SPLITS},
        sequence_lengths=_quantiles(lengths),
        history_lengths=_quantiles((windows.histories >= 0).sum(axis=1)),
        item_popularity=_quantiles(popularity),
        popularity_gini=float(gini(popularity, len(catalog))),
        top_tenth=float(ranked[:tenth].sum() / max(1, ranked.sum())),
        categories={
            name: float(share) for name, share in zip(catalog.tracked, mass / total, strict=True)
        },
        title_words=_quantiles(np.array([len(title.split()) for title in catalog.titles])),
    )


def _quantiles(values: NDArray[np.integer]) -> dict[str, float]:
    return {
        **{name: float(np.quantile(values, share)) for name, share in QUANTILES.items()},
        "mean": float(values.mean()),
    }
