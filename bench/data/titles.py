"""Title rules: which items have a usable title, and how it is cleaned, by the card's profile.

`d3` is the title rule of the program behind D3 (Bao et al., EMNLP 2024; IGD prepares its data with
it), its gaps included: numeric entities stay, and so does markup other than `<span id`. `clean` is
this project's own, for tables that need no comparison with the papers'.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

D3_MARKUP = "<span id"
D3_MAX_WORDS = 20

# A tag, complete or truncated ("<span class="), and the end of one (`Magazines" />`). A title such
# as "I <3 You" or ">observer_" has neither.
_MARKUP = re.compile(r"</?[A-Za-z]|<!|/>")
# Statements that a crawler copies from a page; "while True: learn()" is a game.
_SCRIPT = re.compile(
    r"\b(?:var|let|const)\s+[\w$]+\s*=|\bfunction\b[^{]*\([^)]*\)\s*\{|\bP\.when\("
)


def iterate_title_passes(lines: Iterable[Sequence[str]], profile: str) -> Iterator[tuple[str, ...]]:
    """Yield the title of each item after each pass over the metadata; empty where none is usable.

    D3 changes titles in place and repeats the rule whenever it moves its window, so its second pass
    starts from the output of the first; passes never end. Other profiles yield the same in every
    pass. `lines` are each item's titles on all metadata lines in file order.

    Example:
        >>> passes = iterate_title_passes([['" Fe &amp;amp; Male "']], "d3")
        >>> next(passes), next(passes)
        ((' Fe &amp; Male ',), ('Fe & Male',))
    """
    clean, select = _PROFILES[profile]
    current: list[tuple[str, ...]] = [tuple(titles) for titles in lines]
    previous, selected = None, tuple[str, ...]()
    while True:
        if current != previous:
            previous, current = current, [tuple(map(clean, titles)) for titles in current]
            selected = tuple(map(select, current))
        yield selected


def clean_d3_title(title: str) -> str:
    r"""Replace two entities, strip spaces, then double quotes, as D3 does.

    Example:
        >>> clean_d3_title(' &quot;Caf&eacute;&quot; &amp; Bar ')
        'Caf&eacute;" & Bar'
    """
    if D3_MARKUP in title:
        return title
    return title.replace("&quot;", '"').replace("&amp;", "&").strip(" ").strip('"')


def is_d3_title(title: str) -> bool:
    """Whether D3 keeps a cleaned title: at least 2 characters, at most 20 words.

    Words are separated by single spaces, so two spaces make an empty word that counts.
    """
    return D3_MARKUP not in title and len(title) > 1 and len(title.split(" ")) <= D3_MAX_WORDS


def clean_title(title: str) -> str:
    """Resolve HTML entities, doubly escaped ones too, and collapse white space.

    Example:
        >>> clean_title("Rhythm &amp;amp;  Blues&nbsp;&#8482;")
        'Rhythm & Blues ™'
    """
    while (plain := html.unescape(title)) != title:
        title = plain
    return " ".join(title.split())


def is_title(title: str) -> bool:
    """Whether a cleaned title is usable: neither empty, nor markup, nor script text."""
    return bool(title) and not _MARKUP.search(title) and not _SCRIPT.search(title)


def _select_last_if_all_valid(titles: Sequence[str]) -> str:
    """D3: one invalid line removes an item, whatever its position; else the last line counts."""
    return titles[-1] if all(map(is_d3_title, titles)) else ""


# By profile: how a title is cleaned, and which of the titles of one item is selected.
_PROFILES: Mapping[str, tuple[Callable[[str], str], Callable[[Sequence[str]], str]]] = {
    "keep": (str, itemgetter(0)),
    "d3": (clean_d3_title, _select_last_if_all_valid),
    "clean": (clean_title, lambda titles: next(filter(is_title, titles), "")),
}
