"""Amazon reviews of 2014 and 2018 with their product metadata, as UCSD publishes them.

Formats: Amazon product data (He & McAuley, WWW 2016) and version 2 (Ni, Li & McAuley, EMNLP 2019).
Reviews are JSON lines in both. Metadata are Python-literal lines in 2014, with several category
paths per product, and JSON lines in 2018, with one flat path, in the releases of 2020 and 2021. The
first of several lines with one asin counts; the others are counted as repeated. Titles stay as
crawled, markup included: the title profile decides what to do about them.

Roles: `interactions` (reviews) and `items` (metadata). Fields: `release`, and `titles` = "asin" for
reviews without metadata: then every reviewed asin is an item and its own title.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from bench.data.raw import Collector, RawData, ReaderFields
from bench.data.text_files import read_objects
from bench.data.values import as_text, category_names, parse_number, parse_seconds, require_text


class Fields(ReaderFields):
    """Which of the two collections the files belong to, and where titles come from."""

    release: Literal["2014", "2018"]
    titles: Literal["metadata", "asin"] = "metadata"

    @property
    def required_roles(self) -> tuple[str, ...]:
        """Metadata only if they give the titles."""
        return ("interactions", "items") if self.titles == "metadata" else ("interactions",)


def read(paths: Mapping[str, Path], fields: Fields) -> RawData:
    """Read the metadata file, if titles come from it, and the review file."""
    collector = Collector()
    has_metadata = fields.titles == "metadata"
    if has_metadata:
        _read_products(paths["items"], fields.release, collector)
    reviewed: set[str] = set()
    for where, number, review in read_objects(paths["interactions"]):
        asin = require_text(review, "asin", where)
        if not has_metadata and asin not in reviewed:
            reviewed.add(asin)
            collector.add_item(asin, asin, ())
        collector.add_interaction(
            require_text(review, "reviewerID", where),
            asin,
            parse_number(review.get("overall"), "rating", where),
            parse_seconds(review.get("unixReviewTime"), where),
            number,
        )
    return collector.finish()


def _read_products(path: Path, release: str, collector: Collector) -> None:
    for where, _, product in read_objects(path, literals=release == "2014"):
        paths = product.get("categories") if release == "2014" else [product.get("category")]
        collector.add_item(
            require_text(product, "asin", where),
            as_text(product.get("title")),
            [
                name
                for names in (paths if isinstance(paths, list) else ())
                for name in category_names(names)
            ],
            as_text(product.get("brand")),
        )
