"""How alike the beginnings of written titles are: a model that repeats itself shows it there first.

SPRec (Gao et al., WWW 2025, Fig. 1) looks at the most frequent first tokens, IGD at how often a
first word was used before; neither defines it further, so the definitions are ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def first_word(name: str) -> str:
    """Return what a title has before its first space, in lower case; the empty title has "".

    Example:
        >>> first_word("The Burbs"), first_word(" Alien")
        ('the', 'alien')
    """
    words = name.split(maxsplit=1)
    return words[0].casefold() if words else ""


def top_share(values: Sequence[Hashable]) -> float:
    """Return the share of the most frequent value, in (0, 1].

    Example:
        >>> top_share(["the", "a", "the", "the"])
        0.75
    """
    return max(Counter(values).values()) / len(values)


def new_share(values: Sequence[Hashable]) -> float:
    """Return the share of values that had not occurred before: distinct ones over all, in (0, 1].

    Example:
        >>> new_share(["the", "a", "the", "the"])
        0.5
    """
    return len(set(values)) / len(values)
