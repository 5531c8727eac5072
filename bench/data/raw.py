"""What every reader takes and returns: options and file roles; interactions and items.

Only what cannot be used at all is left out here, and counted by reason. The line number of each
interaction is the last sort key everywhere: the papers' programs rely on stable sorts over file
order.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config.toml import Card
from bench.errors import BenchError, unknown

UNKNOWN_ITEM = "unknown item"
NO_TITLE = "item without a title"
REPEATED_ITEM = "repeated item"

# C0 and C1 controls and the two Unicode separators: whatever could end a line in a prompt.
_BREAKS = re.compile(r"\s*[\x00-\x1f\x7f-\x9f\u2028\u2029][\s\x00-\x1f\x7f-\x9f\u2028\u2029]*")


class ReaderFields(Card):
    """A card's `[fields]` for one reader; they also decide which files the reader takes."""

    @property
    def required_roles(self) -> tuple[str, ...]:
        """Roles of the files that the card must name."""
        return ("interactions", "items")

    @property
    def optional_roles(self) -> tuple[str, ...]:
        """Roles of the files that the card may name."""
        return ()


def check_roles(
    paths: Mapping[str, Path], reader: str, required: Sequence[str], optional: Sequence[str]
) -> None:
    """Refuse a card that names too few files for its reader, or one that would not be read.

    Raises:
        BenchError: For the first role that is missing or unknown.
    """
    for role in (role for role in required if role not in paths):
        message = f"The {reader} reader needs a file in the role {role!r}."
        raise BenchError(message, f"Add [files.{role}] to the card.")
    allowed = (*required, *optional)
    for role in (role for role in paths if role not in allowed):
        hint = unknown("role", role, allowed).hint if allowed else "Remove [files]."
        raise BenchError(f"The {reader} reader takes no file in the role {role!r}.", hint)


@dataclass(frozen=True, kw_only=True)
class RawData:
    """A data set as read; L interactions in file order.

    Attributes:
        user_ids: Source ids of the users, in order of first appearance.
        item_ids: Source ids of the items, in file order.
        categories: Categories of each item, in file order, each at most once.
        users: Indices into `user_ids`, shape (L,).
        items: Indices into `item_ids`, shape (L,).
        ratings: Shape (L,); NaN where the source has none.
        times: Seconds since 1970, UTC, shape (L,).
        lines: Line numbers in the file, from 1, ascending, shape (L,); where a line has several
            interactions, their numbers in the file.
        num_lines: Interactions in the file, including the rejected ones.
        rejected: Number of lines left out, by reason.
        titles_cleaned: Titles that had line breaks or control characters.
        further_titles: Titles on later lines of the same item, by its index, in file order; empty
            where such a line has none.
        brands: Brand of each item, empty where it has none; () where no item has one.
        profiles: Gender, age and occupation of users by source id, in the source's codes.
    """

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32]
    times: NDArray[np.int64]
    lines: NDArray[np.int64]
    num_lines: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    titles_cleaned: int = 0
    further_titles: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    brands: tuple[str, ...] = ()
    profiles: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)

    @property
    def num_duplicates(self) -> int:
        """Interactions that repeat an earlier user, item and time; they are kept."""
        order = np.lexsort((self.times, self.items, self.users))
        columns = np.stack((self.users[order], self.items[order], self.times[order]))
        return int((columns[:, 1:] == columns[:, :-1]).all(axis=0).sum())

    def counts(self) -> dict[str, int]:
        """Return the number of lines and the rejected ones, for display."""
        return {
            "lines": self.num_lines,
            **{f"rejected: {reason}": num for reason, num in self.rejected.items()},
        }


def one_line(title: str) -> str:
    r"""Collapse line breaks and control characters to single spaces and strip the ends.

    Quotes, HTML entities and ordinary double spaces stay as the source has them.

    Example:
        >>> one_line('Say  "Hi" &amp;\r\n go ')
        'Say  "Hi" &amp; go'
    """
    return _BREAKS.sub(" ", title).strip()


class Collector:
    """Gathers items first, then interactions, and counts what cannot be used."""

    def __init__(self) -> None:
        self._item_of: dict[str, int] = {}
        self._untitled: set[str] = set()
        self._titles: list[str] = []
        self._further_titles: dict[int, tuple[str, ...]] = {}
        self._categories: list[tuple[str, ...]] = []
        self._brands: list[str] = []
        self._profiles: dict[str, tuple[str, int, int]] = {}
        self._user_of: dict[str, int] = {}
        self._users, self._items = array("i"), array("i")
        self._ratings, self._times, self._lines = array("f"), array("q"), array("q")
        self._rejected: Counter[str] = Counter()
        self._num_lines = 0
        self._titles_cleaned = 0

    def add_item(
        self, item_id: str, title: str, categories: Iterable[str], brand: str = ""
    ) -> None:
        """Add an item, unless its id came before or its title is empty.

        Of a further line with the same id only the title is kept, for the title rules to judge. An
        item without a title is left out together with its interactions, as D3 does: a language
        model can neither read nor write it.
        """
        if item_id in self._item_of or item_id in self._untitled:
            self._rejected[REPEATED_ITEM] += 1
            if (item := self._item_of.get(item_id)) is not None:
                earlier = self._further_titles.get(item, ())
                self._further_titles[item] = (*earlier, one_line(title))
            return
        cleaned = one_line(title)
        if not cleaned:
            self._untitled.add(item_id)
            return
        self._titles_cleaned += cleaned != title.strip()
        self._item_of[item_id] = len(self._titles)
        self._titles.append(cleaned)
        self._categories.append(tuple(dict.fromkeys(filter(None, map(str.strip, categories)))))
        self._brands.append(brand)

    def add_profile(self, user_id: str, gender: str, age: int, occupation: int) -> None:
        """Add the profile of a user, who need not have any interaction."""
        self._profiles[user_id] = (gender, age, occupation)

    def add_interaction(
        self, user_id: str, item_id: str, rating: float, time: int, line: int
    ) -> None:
        """Add an interaction, unless its item is unknown or untitled; see `RawData` for units."""
        item = self._item_of.get(item_id)
        if item is None:
            self.reject_interaction(NO_TITLE if item_id in self._untitled else UNKNOWN_ITEM)
            return
        self._num_lines += 1
        self._users.append(self._user_of.setdefault(user_id, len(self._user_of)))
        self._items.append(item)
        self._ratings.append(rating)
        self._times.append(time)
        self._lines.append(line)

    def reject_item(self, reason: str) -> None:
        """Count an item that cannot be used; interactions with it will be unknown ones."""
        self._rejected[reason] += 1

    def reject_interaction(self, reason: str) -> None:
        """Count an interaction that cannot be used."""
        self._num_lines += 1
        self._rejected[reason] += 1

    def finish(self) -> RawData:
        """Return everything gathered."""
        return RawData(
            user_ids=tuple(self._user_of),
            item_ids=tuple(self._item_of),
            titles=tuple(self._titles),
            categories=tuple(self._categories),
            users=np.array(self._users, dtype=np.int32),
            items=np.array(self._items, dtype=np.int32),
            ratings=np.array(self._ratings, dtype=np.float32),
            times=np.array(self._times, dtype=np.int64),
            lines=np.array(self._lines, dtype=np.int64),
            num_lines=self._num_lines,
            rejected=dict(sorted(self._rejected.items())),
            titles_cleaned=self._titles_cleaned,
            further_titles=self._further_titles,
            brands=tuple(self._brands) if any(self._brands) else (),
            profiles=self._profiles,
        )
