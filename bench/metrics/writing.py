"""Repetition at the beginning of generated titles, where mode collapse shows first.

SPRec (Gao et al., WWW 2025, Fig. 1) plots the most frequent first tokens, IGD how often a first
word was used before; neither defines the quantity further, so the definitions are ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def first_word(title: str) -> str:
    """Return a title's first word in lower case; "" for an empty title.

    Example:
        >>> first_word("The Burbs"), first_word(" Alien")
        ('the', 'alien')
    """
    words = title.split(maxsplit=1)
    return words[0].casefold() if words else ""


def top_share(values: Sequence[Hashable]) -> float:
    """Return the fraction of the most frequent value, in (0, 1].

    Example:
        >>> top_share(["the", "a", "the", "the"])
        0.75
    """
    return max(Counter(values).values()) / len(values)


def new_share(values: Sequence[Hashable]) -> float:
    """Return the number of distinct values over all, in (0, 1].

    Example:
        >>> new_share(["the", "a", "the", "the"])
        0.5
    """
    return len(set(values)) / len(values)
