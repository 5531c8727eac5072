"""Titles: which items have a usable one, and how it is mended, by the profile that a card names.

`d3` is the title rule of the program behind D3 (Bao et al., EMNLP 2024; IGD prepares its data with
it), its gaps included: numeric entities stay, and so does markup other than `<span id`. `clean` is
ours, for tables that nobody has to compare with the papers'.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

D3_MARKUP = "<span id"
D3_LONGEST = 20

# A tag, whole or cut off ("<span class="), and the tail of one (`Magazines" />`). A title such as
# "I <3 You" or ">observer_" holds neither.
_MARKUP = re.compile(r"</?[A-Za-z]|<!|/>")
# Statements that a crawler takes along from a page; "while True: learn()" is a game.
_SCRIPT = re.compile(
    r"\b(?:var|let|const)\s+[\w$]+\s*=|\bfunction\b[^{]*\([^)]*\)\s*\{|\bP\.when\("
)


def title_passes(lines: Iterable[Sequence[str]], profile: str) -> Iterator[tuple[str, ...]]:
    """Yield the titles again and again, as each further pass over the metadata leaves them.

    D3 changes titles in place and goes over them once more whenever it moves its window, so its
    second pass starts from what the first one left. The other profiles always yield the same.

    Args:
        lines: The titles on all metadata lines of an item, in file order, an entry an item; empty
            where a line has none.
        profile: "keep", "d3" or "clean".

    Yields:
        The title of each item, empty where it has no usable one. Endless.

    Example:
        >>> passes = title_passes([['" Fe &amp;amp; Male "']], "d3")
        >>> next(passes), next(passes)
        ((' Fe &amp; Male ',), ('Fe & Male',))
    """
    mend = _MENDERS[profile]
    current = [tuple(titles) for titles in lines]
    while True:
        following = [tuple(mend(title) for title in titles) for titles in current]
        yield tuple(_CHOICES[profile](titles) for titles in following)
        if following == current:
            break
        current = following
    last = tuple(_CHOICES[profile](titles) for titles in current)
    while True:
        yield last


def mended_d3(title: str) -> str:
    r"""Replace two entities, strip spaces, then double quotes, as D3 does.

    Example:
        >>> mended_d3(' &quot;Caf&eacute;&quot; &amp; Bar ')
        'Caf&eacute;" & Bar'
    """
    if D3_MARKUP in title:
        return title
    return title.replace("&quot;", '"').replace("&amp;", "&").strip(" ").strip('"')


def fits_d3(title: str) -> bool:
    """Tell whether D3 keeps a mended title: 2 characters and more, at most 20 words.

    Words are what single spaces separate, so two spaces make an empty word that counts.
    """
    return D3_MARKUP not in title and len(title) > 1 and len(title.split(" ")) <= D3_LONGEST


def mended(title: str) -> str:
    """Undo HTML entities, doubly escaped ones too, and collapse white space.

    Example:
        >>> mended("Rhythm &amp;amp;  Blues&nbsp;&#8482;")
        'Rhythm & Blues ™'
    """
    while (plain := html.unescape(title)) != title:
        title = plain
    return " ".join(title.split())


def fits(title: str) -> bool:
    """Tell whether a mended title is a title: neither empty, nor markup, nor script text."""
    return bool(title) and not _MARKUP.search(title) and not _SCRIPT.search(title)


def _unchanged(title: str) -> str:
    return title


def _first(titles: Sequence[str]) -> str:
    return titles[0]


def _first_fitting(titles: Sequence[str]) -> str:
    return next(filter(fits, titles), "")


def _last_if_all_fit(titles: Sequence[str]) -> str:
    """D3: one bad line removes an id, wherever it stands; of good ones the last is taken."""
    return titles[-1] if all(map(fits_d3, titles)) else ""


_MENDERS: Mapping[str, Callable[[str], str]] = {
    "keep": _unchanged,
    "d3": mended_d3,
    "clean": mended,
}
_CHOICES: Mapping[str, Callable[[Sequence[str]], str]] = {
    "keep": _first,
    "d3": _last_if_all_fit,
    "clean": _first_fitting,
}
