"""Questions about users and items; a language model's answers are a re-ranker's knowledge.

After KAR (Xi et al., RecSys 2024): one question per user, over the first interactions only, and one
per item, both along the same factors, in our own wording. History and request are separate parts of
a question, since an encoder later reads the history together with the answer. Titles have their
articles in front, and typography in plain ASCII; where KAR replaces a title that it cannot use by a
string of the whole alphabet, questions say that it is unknown.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.prompts import quotable
from bench.errors import BenchError
from bench.models.lm.tokenization import Prompt

UNKNOWN_TITLE = "unknown title"
MIN_LENGTH, MAX_LENGTH = 3, 150
ARTICLES = ("The", "A")

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u2032\u00b4\u0060", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u2026": "...",
        "\uff08": "(",
        "\uff09": ")",
        "\u3010": "[",
        "\u3011": "]",
        **dict.fromkeys("\u00ae\u2122\u00a9\u200b\u200e\u200f\ufeff", ""),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u3000\u2022\u00b7", " "),
    }
)
_LETTER = re.compile(r"[A-Za-z]")
_TAIL = re.compile(r"[^A-Za-z0-9]+$")

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
    "of an occupation that was not listed", "an academic or educator", "an artist",
    "in clerical or administrative work", "a college or graduate student", "in customer service",
    "a doctor or in health care", "an executive or manager", "a farmer", "a homemaker",
    "a school pupil", "a lawyer", "a programmer", "retired", "in sales or marketing",
    "a scientist", "self-employed", "a technician or engineer", "a tradesman or craftsman",
    "unemployed", "a writer",
)  # fmt: skip


def move_article_to_front(title: str) -> str:
    """Move "The" or "A" from the end of a MovieLens title to its front, as KAR does.

    Only in titles with one pair of parentheses, that of the year; "An" and foreign articles stay.

    Example:
        >>> move_article_to_front("Few Good Men, A (1992)")
        'A Few Good Men (1992)'
    """
    name, parenthesis, rest = title.strip().partition("(")
    if parenthesis and "(" not in rest:
        for article in ARTICLES:
            ending = f", {article}"
            if name.rstrip().endswith(ending):
                return f"{article} {name.rstrip().removesuffix(ending)} ({rest}"
    return title.strip()


def clean_title(text: str) -> str:
    """Clean an Amazon title or brand; empty if it is unusable.

    Unusable is what still contains a non-ASCII character, contains no letter, or has fewer than 3
    characters. Long text is cut at 150 characters, before the word that this breaks.
    """
    plain = " ".join(html.unescape(text).translate(_PLAIN).split())
    if not plain.isascii() or not _LETTER.search(plain) or len(plain) < MIN_LENGTH:
        return ""
    if len(plain) <= MAX_LENGTH:
        return plain
    whole_words = plain[:MAX_LENGTH].rpartition(" ")[0] or plain[:MAX_LENGTH]
    return _TAIL.sub("", whole_words)


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The kind of items that questions are about.

    Attributes:
        singular: Noun for one item.
        plural: Noun for several items.
        person: Noun for their user.
        factors: Aspects that describe tastes and items, separated by semicolons.
    """

    singular: str
    plural: str
    person: str
    factors: str


DOMAINS = {
    "movie": Domain(
        singular="movie",
        plural="movies",
        person="viewer",
        factors="genre; directors and actors; time period and country; characters; plot and "
        "themes; mood and tone; critical acclaim and awards; production quality; soundtrack",
    ),
    "book": Domain(
        singular="book",
        plural="books",
        person="reader",
        factors="genre; author; writing style; themes; setting; length and complexity; time "
        "period; literary quality; critical acclaim",
    ),
    "product": Domain(
        singular="product",
        plural="products",
        person="customer",
        factors="kind; function; quality; price; design; reputation",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A user's profile by the codes of MovieLens-1M.

    Raises:
        BenchError: A code is unknown.
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


def list_ratings(
    titles: Sequence[str], ratings: Sequence[float] | NDArray[np.float32]
) -> tuple[str, ...]:
    """Write titles with their stars, oldest first.

    Example:
        >>> list_ratings(["Alien (1979)"], [4.0])
        ('"Alien (1979)", 4 stars; ',)
    """
    pairs = zip(titles, ratings, strict=True)
    return tuple(f'"{quotable(title)}", {round(float(stars))} stars; ' for title, stars in pairs)


def ask_about_user(
    domain: Domain,
    titles: Sequence[str],
    ratings: Sequence[float] | NDArray[np.float32],
    profile: Profile | None = None,
) -> Prompt:
    """Write the question about a user's taste: the first items, oldest first, with their stars."""
    user = f"A {domain.person}" + (f", {profile.phrase}," if profile else "")
    opening = f"{user} rated these {domain.plural}, the earliest first: "
    request = (
        f"Work out which {domain.plural} this {domain.person} likes, factor by factor: "
        f"{domain.factors}. Explain each point clearly by what was rated and how, and "
        "add whatever else matters."
    )
    return Prompt(opening=opening, entries=list_ratings(titles, ratings), request=request)


def ask_about_item(domain: Domain, title: str, brand: str = "") -> Prompt:
    """Write the question about an item; an empty brand is not mentioned."""
    maker = f" by {brand}" if brand else ""
    request = (
        f'Describe the {domain.singular} "{quotable(title)}"{maker}, factor by factor: '
        f"{domain.factors}."
    )
    return Prompt(request=request)


def write_user_text(prompt: Prompt, answer: str, kind: Literal["history+answer", "answer"]) -> str:
    """Write the text about a user to encode: history and answer as in KAR, or the answer only."""
    return answer if kind == "answer" else f"{prompt.context} {answer}".rstrip()
