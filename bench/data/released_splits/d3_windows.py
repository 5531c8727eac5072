"""D3's samples as one table of all splits, with item numbers of the history separated by blanks.

Format: what is left of D3's windows (Bao et al., EMNLP 2024) in the caches that Flower (Gao et al.,
2025) publishes: columns `split` (train, valid, test, in this order), `seq_id` (the user),
`history_item_id` and `item_id`. The cache has no times, only periods of ten days, some of them
masked, so that column is ignored. Rows are in order of time, and their number replaces it.

Roles: `windows`; `items` (the .info.txt file). No fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.config.cards import Categories
from bench.data.prepared import SPLITS, Prepared
from bench.data.released_splits.item_titles import read_titles
from bench.data.released_splits.sequences import SequenceBuilder
from bench.data.text_files import open_table
from bench.data.values import EXCERPT, TRUNCATED
from bench.errors import BenchError

REQUIRED_ROLES, OPTIONAL_ROLES = ("windows", "items"), ()
ROW_NUMBERS = "The file has no times; the row number is used instead."


def read(paths: Mapping[str, Path], categories: Categories) -> Prepared:
    """Read the files of one data set."""
    titles = read_titles(paths["items"], lines_only=True)
    index = titles.indices()
    builder = SequenceBuilder()
    table = open_table(paths["windows"], ",", multiline=True)
    latest = 0
    records = table.records("split", "seq_id", "history_item_id", "item_id")
    for number, (where, cells) in enumerate(records):
        split = cells["split"]
        if split not in SPLITS[latest:]:
            problem = "out of the order train, valid, test" if split in SPLITS else "no split"
            raise BenchError(f"{where}: {split[:EXCERPT]!r} is {problem}.", TRUNCATED)
        latest = SPLITS.index(split)
        ids = [*cells["history_item_id"].split(), cells["item_id"].strip()]
        builder.add(split, list(map(index.get, ids)), user=cells["seq_id"], time=number)
    return builder.finish(titles.catalog(), titles.counts, categories, (ROW_NUMBERS,))
