"""Steam games and reviews as UCSD publishes them: Python-literal lines, or copies in JSON.

Sources: Kang & McAuley (ICDM 2018), Wan & McAuley (RecSys 2018), Pathak et al. (SIGIR 2017).
An item is a name, `app_name`, as in SPRec's table (32,094 of them): the shop sells some games under
several ids, and reviews of any of them count for the name. A name's first line gives its
categories.

Reviews come in two forms. `user_reviews` has one user per line with all of their reviews, dated in
words ("Posted November 5, 2011."). Posts of the year of the crawl have no year, and that year is
not recorded, so they are left out and counted. `steam_reviews` has one review per line with a
complete date; `username` identifies users, because `user_id` is often missing.

Roles: `interactions` (reviews) and `items` (games). Fields: `reviews`, `categories`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from bench.data.raw import Collector, RawData, ReaderFields
from bench.data.text_files import read_objects
from bench.data.values import (
    CHECK_CARD,
    Record,
    as_text,
    category_names,
    parse_date,
    require_text,
)
from bench.errors import BenchError

NO_NAME = "game without a name"
NO_YEAR = "review without a year"
NO_USER = "review without a user"

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_POSTED = re.compile(rf"Posted ({'|'.join(MONTHS)}) ([0-9]{{1,2}})(?:, ([0-9]{{4}}))?\.?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Fields(ReaderFields):
    """Which review file it is, and which of a game's labels are its categories.

    Attributes:
        reviews: "user_reviews" or "steam_reviews".
        categories: "tags" by players (SPRec's, since its example FPS is one) or the shop's
            "genres".
    """

    reviews: Literal["user_reviews", "steam_reviews"]
    categories: Literal["tags", "genres"] = "tags"


def read(paths: Mapping[str, Path], fields: Fields) -> RawData:
    """Read the games and a review file."""
    collector = Collector()
    names: dict[str, str] = {}
    for _, _, game in read_objects(paths["items"], literals=True):
        name = as_text(game.get("app_name"))
        if not name.strip():
            collector.reject_item(NO_NAME)
            continue
        names[as_text(game.get("id"))] = name
        collector.add_item(name, name, category_names(game.get(fields.categories)))
    # A game without an id must not match a review without an id.
    names.pop("", None)
    read_reviews = _read_user_reviews if fields.reviews == "user_reviews" else _read_steam_reviews
    read_reviews(paths["interactions"], names, collector)
    return collector.finish()


def _read_user_reviews(path: Path, names: Mapping[str, str], collector: Collector) -> None:
    number = 0
    for where, _, user in read_objects(path, literals=True):
        user_id = require_text(user, "user_id", where)
        for review in _reviews(user, where):
            number += 1
            posted = as_text(review.get("posted"))
            match, iso = _POSTED.fullmatch(posted.strip()), None
            if match:
                month, day, year = match.groups()
                if year is None:
                    collector.reject_interaction(NO_YEAR)
                    continue
                iso = f"{year}-{MONTHS.index(month) + 1:02}-{int(day):02}T00:00+00:00"
            time = parse_date(iso, posted, where)
            item = names.get(require_text(review, "item_id", where), "")
            recommends = review.get("recommend")
            rating = float(recommends) if isinstance(recommends, bool) else math.nan
            collector.add_interaction(user_id, item, rating, time, number)


def _reviews(user: Record, where: str) -> list[Record]:
    reviews = user.get("reviews")
    if not isinstance(reviews, list) or not all(isinstance(review, dict) for review in reviews):
        raise BenchError(f"{where} has no list of reviews.", CHECK_CARD)
    return reviews


def _read_steam_reviews(path: Path, names: Mapping[str, str], collector: Collector) -> None:
    for where, number, review in read_objects(path, literals=True):
        item = names.get(require_text(review, "product_id", where), "")
        date = require_text(review, "date", where)
        iso = f"{date}T00:00+00:00" if _DATE.fullmatch(date) else None
        time = parse_date(iso, date, where)
        user = as_text(review.get("username"))
        if not user:
            collector.reject_interaction(NO_USER)
            continue
        collector.add_interaction(user, item, math.nan, time, number)
