"""Synthetic data: seeded, without files, and with structure to learn.

Users belong to latent groups, one per category. Each next item is, with the probabilities below,
the successor of the last one on its category's ring, another item of the user's own group, or a
popular item of any group. So a sequence model beats a popularity count, and that beats chance.

With `rated`, users like their own group: its items have 4 or 5 stars, others 1 to 3. Ratings have a
random generator of their own and change nothing else.

Fields: `users`, `items`, `interactions_per_user`, `categories`, `seed`, `rated`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bench.data.raw import Collector, RawData, ReaderFields
from bench.hashing import derive_seed

SUCCESSOR, OWN_GROUP = 0.6, 0.25
LONGEST_GAP = 10
START = 1_000_000_000
HOUR = 3600
PAIRED = 3

ADJECTIVES = (
    "Amber", "Bright", "Calm", "Distant", "Early", "Faint",
    "Golden", "Hidden", "Iron", "Jade", "Quiet", "Silver",
)  # fmt: skip
NOUNS = (
    "Harbour", "Island", "Journey", "Lantern", "Meadow", "Night",
    "Orchard", "River", "Shadow", "Tower", "Valley",
)  # fmt: skip


class Fields(ReaderFields):
    """Sizes and seed of the synthetic data."""

    users: int = Field(ge=1)
    items: int = Field(ge=4)
    interactions_per_user: int = Field(ge=1)
    categories: int = Field(ge=1)
    seed: int = Field(ge=0)
    rated: bool = False

    @model_validator(mode="after")
    def _two_items_per_category(self) -> Fields:
        if self.items < 2 * self.categories:
            raise ValueError("there must be at least two items per category")
        return self

    @property
    def required_roles(self) -> tuple[str, ...]:
        """None: the data are generated."""
        return ()


def read(paths: Mapping[str, Path], fields: Fields) -> RawData:
    """Generate the data; equal fields give equal data."""
    collector = Collector()
    for item in range(fields.items):
        collector.add_item(f"i{item + 1}", _title(item), _categories(item, fields.categories))
    rng = np.random.default_rng(derive_seed("synthetic", fields.seed))
    popularity = 1 / (1 + rng.permutation(fields.items))
    line = 0
    for user in range(fields.users):
        sequence, group = _walk(rng, popularity, fields)
        ratings = _ratings(sequence, group, user, fields)
        # Users overlap in time, so that every split contains many of them.
        start = START + int(rng.integers(0, 24 * HOUR * fields.interactions_per_user))
        gaps = rng.integers(1, 48 * HOUR, size=len(sequence))
        for item, rating, time in zip(sequence, ratings, start + np.cumsum(gaps), strict=True):
            line += 1
            collector.add_interaction(f"u{user + 1}", f"i{item + 1}", rating, int(time), line)
    return collector.finish()


def _walk(
    rng: np.random.Generator, popularity: NDArray[np.float64], fields: Fields
) -> tuple[list[int], int]:
    """Generate one user's items, none twice within `LONGEST_GAP` steps if possible.

    Returns:
        The items, and the user's group.
    """
    groups = np.arange(fields.items) % fields.categories
    group = int(rng.integers(fields.categories))
    own = np.where(groups == group, popularity, 0.0)
    gap = min(LONGEST_GAP, fields.items // 2)
    sequence: list[int] = []
    for _ in range(fields.interactions_per_user):
        draw = rng.random()
        recent = sequence[-gap:]
        step = (sequence[-1] + fields.categories) if sequence else 0
        # The last item of each category's ring is followed by its first one.
        step = step if step < fields.items else step % fields.categories
        if sequence and draw < SUCCESSOR and step not in recent:
            sequence.append(step)
            continue
        weights = (own if draw < SUCCESSOR + OWN_GROUP else popularity).copy()
        weights[recent] = 0.0
        if not weights.any():
            weights = popularity.copy()
            weights[recent] = 0.0
        sequence.append(int(rng.choice(fields.items, p=weights / weights.sum())))
    return sequence, group


def _ratings(sequence: list[int], group: int, user: int, fields: Fields) -> list[float]:
    if not fields.rated:
        return [math.nan] * len(sequence)
    rng = np.random.default_rng(derive_seed("synthetic stars", fields.seed, user))
    liked = np.array(sequence) % fields.categories == group
    high, low = rng.integers(4, 6, len(sequence)), rng.integers(1, 4, len(sequence))
    return [float(rating) for rating in np.where(liked, high, low)]


def _title(item: int) -> str:
    """Return a distinct title of common words, numbered once all pairs of words are used."""
    rounds, index = divmod(item, len(ADJECTIVES) * len(NOUNS))
    # The two lengths share no divisor, so stepping through both at once gives every pair once.
    words = f"{ADJECTIVES[index % len(ADJECTIVES)]} {NOUNS[index % len(NOUNS)]}"
    return words if rounds == 0 else f"{words} {rounds + 1}"


def _categories(item: int, count: int) -> list[str]:
    """Return an item's group and, for every third item, the next group too."""
    groups = [item % count] + ([(item + 1) % count] if item % PAIRED == 0 else [])
    return [f"group-{group + 1}" for group in groups]
