"""What a language model is asked about users and items; the answers are a re-ranker's knowledge.

After KAR (Xi et al., RecSys 2024): one question a user, over the first interactions only, and one
an item, both along the same factors. The words are ours. What a user did and what is asked about it
are kept apart, since an encoder later reads the first together with the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bench.data.prompts import quotable
from bench.errors import BenchError, unknown
from bench.models.lm.chat_prompts import Prompt

UserText = Literal["history+answer", "answer"]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What kind of items it is about.

    Attributes:
        singular: What one item is called.
        plural: What several are called.
        person: What someone is called who takes them.
        factors: What taste and items are described by.
    """

    singular: str
    plural: str
    person: str
    factors: tuple[str, ...]


DOMAINS = {
    "movie": Domain(
        singular="movie",
        plural="movies",
        person="viewer",
        factors=(
            "genre",
            "directors and actors",
            "time period and country",
            "characters",
            "plot and themes",
            "mood and tone",
            "critical acclaim and awards",
            "production quality",
            "soundtrack",
        ),
    ),
    "book": Domain(
        singular="book",
        plural="books",
        person="reader",
        factors=(
            "genre",
            "author",
            "writing style",
            "themes",
            "setting",
            "length and complexity",
            "time period",
            "literary quality",
            "critical acclaim",
        ),
    ),
    "product": Domain(
        singular="product",
        plural="products",
        person="customer",
        factors=("kind", "function", "quality", "price", "design", "reputation"),
    ),
}

GENDERS = {"F": "woman", "M": "man"}
AGES = {
    1: "under 18 years old",
    18: "between 18 and 24 years old",
    25: "between 25 and 34 years old",
    35: "between 35 and 44 years old",
    45: "between 45 and 49 years old",
    50: "between 50 and 55 years old",
    56: "56 years old or more",
}
OCCUPATIONS = (
    "of an occupation that was not listed",
    "an academic or educator",
    "an artist",
    "in clerical or administrative work",
    "a college or graduate student",
    "in customer service",
    "a doctor or in health care",
    "an executive or manager",
    "a farmer",
    "a homemaker",
    "a school pupil",
    "a lawyer",
    "a programmer",
    "retired",
    "in sales or marketing",
    "a scientist",
    "self-employed",
    "a technician or engineer",
    "a tradesman or craftsman",
    "unemployed",
    "a writer",
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What MovieLens-1M knows of a user, by its codes.

    Raises:
        BenchError: There is no such code.
    """

    gender: str
    age: int
    occupation: int

    def __post_init__(self) -> None:
        if (
            self.gender not in GENDERS
            or self.age not in AGES
            or not 0 <= self.occupation < len(OCCUPATIONS)
        ):
            raise BenchError(
                f"MovieLens has no user of gender {self.gender!r}, age code {self.age} and "
                f"occupation {self.occupation}.",
                "Check users.dat.",
            )

    @property
    def phrase(self) -> str:
        """The profile in words."""
        return f"a {GENDERS[self.gender]}, {AGES[self.age]}, {OCCUPATIONS[self.occupation]}"


def domain(name: str) -> Domain:
    """Return a domain: "movie", "book" or "product"."""
    if name not in DOMAINS:
        raise unknown("domain of prompts", name, DOMAINS)
    return DOMAINS[name]


def entries(
    titles: Sequence[str], ratings: Sequence[float] | NDArray[np.float32]
) -> tuple[str, ...]:
    """List titles with their stars, oldest first.

    Example:
        >>> entries(["Alien (1979)"], [4.0])
        ('"Alien (1979)", 4 stars; ',)
    """
    pairs = zip(titles, ratings, strict=True)
    return tuple(f'"{quotable(title)}", {round(float(stars))} stars; ' for title, stars in pairs)


def user_prompt(
    about: Domain,
    titles: Sequence[str],
    ratings: Sequence[float] | NDArray[np.float32],
    profile: Profile | None = None,
) -> Prompt:
    """Ask for a user's taste.

    Args:
        about: The domain.
        titles: The user's first items, oldest first.
        ratings: Stars beside them.
        profile: Who the user is, where that is known.
    """
    who = f"A {about.person}" + (f", {profile.phrase}," if profile else "")
    opening = f"{who} rated these {about.plural}, the earliest first: "
    request = (
        f"Work out which {about.plural} this {about.person} likes, factor by factor: "
        f"{'; '.join(about.factors)}. Explain each point clearly by what was rated and how, and "
        "add whatever else matters."
    )
    return Prompt(opening=opening, entries=entries(titles, ratings), request=request)


def item_prompt(about: Domain, title: str, brand: str = "") -> Prompt:
    """Ask what an item is.

    Args:
        about: The domain.
        title: Its title.
        brand: Its maker; empty where it is not known, and then not mentioned.
    """
    maker = f" by {brand}" if brand else ""
    request = (
        f'Describe the {about.singular} "{quotable(title)}"{maker}, factor by factor: '
        f"{'; '.join(about.factors)}."
    )
    return Prompt(request=request)


def user_text(prompt: Prompt, answer: str, kind: str = "history+answer") -> str:
    """Put together what the encoder reads about a user.

    Args:
        prompt: The question.
        answer: What the model wrote; it may be empty.
        kind: "history+answer" as KAR, or "answer" alone.
    """
    if kind not in get_args(UserText):
        raise unknown("text of a user", kind, get_args(UserText))
    return answer if kind == "answer" else f"{prompt.known} {answer}".rstrip()
