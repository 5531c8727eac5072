"""Steam games and reviews as UCSD publishes them: Python-literal lines, or copies in JSON.

Sources: Kang & McAuley (ICDM 2018), Wan & McAuley (RecSys 2018), Pathak et al. (SIGIR 2017).
An item is a name, `app_name`, as in SPRec's table (32,094 of them): the shop sells some games under
several ids, and reviews of any of them count for the name. A name's first line gives its
categories.

Reviews come in two forms. `user_reviews` has one user a line with all of their reviews, dated in
words ("Posted November 5, 2011."); the crawler saw no year in posts of its own year, and which year
that was is not recorded, so those are left out and counted. `steam_reviews` has one review a line
with a whole date; users are told apart by `username`, since `user_id` is often missing.

Roles: `interactions` (reviews) and `items` (games). Fields: `reviews`, `categories`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bench.config.toml import Card, check_card
from bench.data.file_roles import require
from bench.data.json_lines import Record, names, read_literals, required, text
from bench.data.raw import Collector, RawData
from bench.data.text_lines import FETCH_AGAIN
from bench.errors import BenchError

ROLES = ("interactions", "items")
NO_NAME = "game without a name"
NO_YEAR = "review without a year"
NO_USER = "review without a user"

# fmt: off
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)
# fmt: on
_POSTED = re.compile(rf"Posted ({'|'.join(MONTHS)}) ([0-9]{{1,2}})(?:, ([0-9]{{4}}))?\.?")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


class Fields(Card):
    """Which review file it is, and which of a game's labels are its categories.

    Attributes:
        reviews: "user_reviews" or "steam_reviews".
        categories: "tags" by players (SPRec's, since its example FPS is one) or the shop's
            "genres".
    """

    reviews: Literal["user_reviews", "steam_reviews"]
    categories: Literal["tags", "genres"] = "tags"


def read(paths: Mapping[str, Path], fields: Mapping[str, Any]) -> RawData:
    """Read the games and a review file.

    Raises:
        BenchError: For unfit fields or a file that is not as it should be, with its line.
    """
    chosen = check_card(fields, Fields, "The card's fields")
    require(paths, "steam", ROLES)
    collector = Collector()
    name_of: dict[str, str] = {}
    for _, _, game in read_literals(paths["items"]):
        name = text(game.get("app_name"))
        if not name.strip():
            collector.reject_item(NO_NAME)
            continue
        name_of[text(game.get("id"))] = name
        collector.add_item(name, name, names(game.get(chosen.categories)))
    # A game without an id must not be the one that a review without an id speaks of.
    name_of.pop("", None)
    take = _user_reviews if chosen.reviews == "user_reviews" else _steam_reviews
    take(paths["interactions"], name_of, collector)
    return collector.finish()


def _user_reviews(path: Path, name_of: Mapping[str, str], collector: Collector) -> None:
    count = 0
    for where, _, user in read_literals(path):
        user_id = required(user, "user_id", where)
        for review in _reviews(user, where):
            count += 1
            day = _posted_day(text(review.get("posted")), where)
            if day is None:
                collector.reject_interaction(NO_YEAR)
                continue
            item = name_of.get(required(review, "item_id", where), "")
            collector.add_interaction(user_id, item, _recommended(review), day, count)


def _reviews(user: Record, where: str) -> list[Record]:
    reviews = user.get("reviews")
    if not isinstance(reviews, list) or not all(isinstance(one, dict) for one in reviews):
        raise BenchError(
            f"{where} has no list of reviews.", "Check that the card names the right `reviews`."
        )
    return reviews


def _recommended(review: Record) -> float:
    """Return 1 for a recommendation, 0 for its opposite, NaN where neither is told."""
    recommended = review.get("recommend")
    return float(recommended) if isinstance(recommended, bool) else math.nan


def _steam_reviews(path: Path, name_of: Mapping[str, str], collector: Collector) -> None:
    for where, number, review in read_literals(path):
        item = name_of.get(required(review, "product_id", where), "")
        date = required(review, "date", where)
        if not (parts := _DATE.fullmatch(date)):
            raise _no_date(date, where)
        year, month, on = map(int, parts.groups())
        day = _midnight(year, month, on, date, where)
        user = text(review.get("username"))
        if not user:
            collector.reject_interaction(NO_USER)
            continue
        collector.add_interaction(user, item, math.nan, day, number)


def _posted_day(posted: str, where: str) -> int | None:
    """Return the day's midnight, UTC, or None where the year is not told."""
    parts = _POSTED.fullmatch(posted.strip())
    if parts is None:
        raise _no_date(posted, where)
    month, day, year = parts.groups()
    if year is None:
        return None
    return _midnight(int(year), MONTHS.index(month) + 1, int(day), posted, where)


def _midnight(year: int, month: int, day: int, written: str, where: str) -> int:
    try:
        return int(datetime(year, month, day, tzinfo=UTC).timestamp())
    except ValueError as error:
        raise _no_date(written, where) from error


def _no_date(written: str, where: str) -> BenchError:
    return BenchError(f"{where}: {written[:40]!r} is no date.", "Mend the line. " + FETCH_AGAIN)
