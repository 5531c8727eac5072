"""BIGRec's windows: one table per split with a user, item numbers and the time of the target.

Format: the tables behind BIGRec's texts (Bao et al., 2023), as MSL (Wang et al., 2025) publishes
them: columns `user_id`, `item_ids` (a list, the target last) and `timestamp` (the target's, seconds
since 1970, UTC), in order of that time. BIGRec's own texts are in SPRec's format.

Roles: `train`, `test`; `items` (titles by id: a JSON object or lines `title TAB id`); optionally
`valid`. No fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.config.cards import Categories
from bench.data.prepared import SPLITS, Prepared
from bench.data.released_splits.item_titles import read_titles
from bench.data.released_splits.sequences import SequenceBuilder
from bench.data.text_files import open_table
from bench.data.values import TRUNCATED, parse_list, parse_seconds
from bench.errors import BenchError

REQUIRED_ROLES, OPTIONAL_ROLES = ("train", "test", "items"), ("valid",)
TARGET_TIMES = (
    "The files give the times of targets only; the items before a user's first target get its time."
)
NO_VALID = "There are no validation rows: the card names no file in the role 'valid'."


def read(paths: Mapping[str, Path], categories: Categories) -> Prepared:
    """Read the files of one data set."""
    titles = read_titles(paths["items"])
    index = titles.indices()
    builder = SequenceBuilder()
    for split in filter(paths.__contains__, SPLITS):
        table = open_table(paths[split], ",", multiline=True)
        for where, cells in table.records("user_id", "item_ids", "timestamp"):
            items = parse_list(cells["item_ids"], "item_ids", where)
            if not items:
                raise BenchError(f"{where} has neither a history nor a target.", TRUNCATED)
            builder.add(
                split,
                [index.get(str(item)) for item in items],
                user=cells["user_id"],
                time=parse_seconds(cells["timestamp"], where),
            )
    notes = (TARGET_TIMES,) if "valid" in paths else (TARGET_TIMES, NO_VALID)
    return builder.finish(titles.catalog(), titles.counts, categories, notes)
