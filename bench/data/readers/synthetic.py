"""A made-up data set: seeded, without files, and with something to learn.

Users belong to latent groups, one a category. Each next item is, with the chances below, the
successor of the last one on its category's ring, another item of the user's own group, or a popular
item of any group. So a sequence model beats a popularity count, and that beats chance.

With `rated`, users like their own group: its items have 4 or 5 stars, others 1 to 3, drawn by a
generator of its own, so that everything else stays as it is without.

Fields: `users`, `items`, `interactions_per_user`, `categories`, `seed`, `rated`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bench.config.toml import Card, check_card
from bench.data.raw import Collector, RawData
from bench.errors import BenchError
from bench.hashing import derive_seed

SUCCESSOR, OWN_GROUP = 0.6, 0.25
LONGEST_GAP = 10
START = 1_000_000_000
HOUR = 3600
PAIRED = 3

# fmt: off
ADJECTIVES = (
    "Amber", "Bright", "Calm", "Distant", "Early", "Faint",
    "Golden", "Hidden", "Iron", "Jade", "Quiet", "Silver",
)
NOUNS = (
    "Harbour", "Island", "Journey", "Lantern", "Meadow", "Night",
    "Orchard", "River", "Shadow", "Tower", "Valley",
)
# fmt: on


class Fields(Card):
    """Sizes and seed of the made-up data."""

    users: int = Field(ge=1)
    items: int = Field(ge=4)
    interactions_per_user: int = Field(ge=1)
    categories: int = Field(ge=1)
    seed: int = Field(ge=0)
    rated: bool = False

    @model_validator(mode="after")
    def _two_items_a_category(self) -> Fields:
        if self.items < 2 * self.categories:
            raise ValueError("there must be at least two items a category")
        return self


def read(paths: Mapping[str, Path], fields: Mapping[str, Any]) -> RawData:
    """Make the data; the same fields always give the same.

    Raises:
        BenchError: For unfit fields, or where the card lists files.
    """
    sizes = check_card(fields, Fields, "The card's fields")
    if paths:
        raise BenchError("The synthetic reader takes no files.", "Remove [files] from the card.")
    collector = Collector()
    for item in range(sizes.items):
        collector.add_item(f"i{item + 1}", _title(item), _categories(item, sizes.categories))
    rng = np.random.default_rng(derive_seed("synthetic", sizes.seed))
    popularity = 1 / (1 + rng.permutation(sizes.items))
    line = 0
    for user in range(sizes.users):
        sequence, group = _walk(rng, popularity, sizes)
        stars = _stars(sequence, group, user, sizes)
        # Users overlap in time, so that every split holds many of them.
        start = START + int(rng.integers(0, 24 * HOUR * sizes.interactions_per_user))
        gaps = rng.integers(1, 48 * HOUR, size=len(sequence))
        for item, rating, time in zip(sequence, stars, start + np.cumsum(gaps), strict=True):
            line += 1
            collector.add_interaction(f"u{user + 1}", f"i{item + 1}", rating, int(time), line)
    return collector.finish()


def _walk(
    rng: np.random.Generator, popularity: NDArray[np.float64], sizes: Fields
) -> tuple[list[int], int]:
    """Walk one user through the items, none twice within `LONGEST_GAP` steps if that can be.

    Returns:
        The items, and the user's group.
    """
    groups = np.arange(sizes.items) % sizes.categories
    group = int(rng.integers(sizes.categories))
    own = np.where(groups == group, popularity, 0.0)
    gap = min(LONGEST_GAP, sizes.items // 2)
    sequence: list[int] = []
    for _ in range(sizes.interactions_per_user):
        chance = rng.random()
        recent = sequence[-gap:]
        step = (sequence[-1] + sizes.categories) if sequence else 0
        # The last places of the catalog close each ring on its category's first item.
        step = step if step < sizes.items else step % sizes.categories
        if sequence and chance < SUCCESSOR and step not in recent:
            sequence.append(step)
            continue
        weights = (own if chance < SUCCESSOR + OWN_GROUP else popularity).copy()
        weights[recent] = 0.0
        if not weights.any():
            weights = popularity.copy()
            weights[recent] = 0.0
        sequence.append(int(rng.choice(sizes.items, p=weights / weights.sum())))
    return sequence, group


def _stars(sequence: list[int], group: int, user: int, sizes: Fields) -> list[float]:
    if not sizes.rated:
        return [math.nan] * len(sequence)
    rng = np.random.default_rng(derive_seed("synthetic stars", sizes.seed, user))
    liked = np.array(sequence) % sizes.categories == group
    stars = np.where(liked, rng.integers(4, 6, len(sequence)), rng.integers(1, 4, len(sequence)))
    found: list[float] = stars.astype(float).tolist()
    return found


def _title(item: int) -> str:
    """Give distinct titles of common words; a number only where the words run out."""
    rounds, place = divmod(item, len(ADJECTIVES) * len(NOUNS))
    # The two lengths share no divisor, so stepping through both at once meets every pair once.
    words = f"{ADJECTIVES[place % len(ADJECTIVES)]} {NOUNS[place % len(NOUNS)]}"
    return words if rounds == 0 else f"{words} {rounds + 1}"


def _categories(item: int, count: int) -> list[str]:
    """Name an item's group and, for every third item, the next group too."""
    groups = [item % count] + ([(item + 1) % count] if item % PAIRED == 0 else [])
    return [f"group-{group + 1}" for group in groups]
