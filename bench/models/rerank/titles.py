"""Titles and brands in KAR's prompts: articles in front, typography in plain ASCII.

Where KAR replaces a title that it cannot use by a string of the whole alphabet, this writes that it
is unknown.
"""

from __future__ import annotations

import html
import re

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
