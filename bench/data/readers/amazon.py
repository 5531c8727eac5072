"""Amazon reviews of 2014 and 2018 with their product metadata, as UCSD publishes them.

Formats: Amazon product data (He & McAuley, WWW 2016) and version 2 (Ni, Li & McAuley, EMNLP 2019).
Reviews are JSON lines in both. Metadata are Python-literal lines in 2014, with several category
paths a product, and JSON lines in 2018, with one flat path, in the release of 2020 as in that of
2021. The first of several lines with one asin counts, the others are counted as repeated. Titles
stay as they were crawled, markup included: what to do about them is the title profile's business.

Roles: `interactions` (reviews) and `items` (metadata). Fields: `release`, and `titles` = "asin" for
reviews without metadata: then every reviewed asin is an item, and its own title.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bench.config.toml import Card, check_card
from bench.data.file_roles import require
from bench.data.json_lines import Record, names, read_json, read_literals, required, text
from bench.data.parse_numbers import finite, whole_seconds
from bench.data.raw import Collector, RawData

ROLES = ("interactions", "items")


class Fields(Card):
    """Which of the two collections the files belong to, and where titles come from."""

    release: Literal["2014", "2018"]
    titles: Literal["metadata", "asin"] = "metadata"


def read(paths: Mapping[str, Path], fields: Mapping[str, Any]) -> RawData:
    """Read a metadata file, if there is to be one, and a review file.

    Raises:
        BenchError: For unfit fields or a file that is not as it should be, with its line.
    """
    chosen = check_card(fields, Fields, "The card's fields")
    described = chosen.titles == "metadata"
    require(paths, "amazon", ROLES if described else ROLES[:1])
    collector = Collector()
    if described:
        _read_products(paths["items"], chosen.release, collector)
    seen: set[str] = set()
    for where, number, review in read_json(paths["interactions"]):
        asin = required(review, "asin", where)
        if not described and asin not in seen:
            seen.add(asin)
            collector.add_item(asin, asin, ())
        collector.add_interaction(
            required(review, "reviewerID", where),
            asin,
            finite(review.get("overall"), "rating", where),
            whole_seconds(review.get("unixReviewTime"), where),
            number,
        )
    return collector.finish()


def _read_products(path: Path, release: str, collector: Collector) -> None:
    products = read_literals if release == "2014" else read_json
    categories = _all_paths if release == "2014" else _one_path
    for where, _, product in products(path):
        collector.add_item(
            required(product, "asin", where),
            text(product.get("title")),
            categories(product),
            text(product.get("brand")),
        )


def _all_paths(product: Record) -> list[str]:
    paths = product.get("categories")
    return [name for path in paths for name in names(path)] if isinstance(paths, list) else []


def _one_path(product: Record) -> list[str]:
    return names(product.get("category"))
