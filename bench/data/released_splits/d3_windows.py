"""D3's samples as one table of all splits, in which a history is numbers between blanks.

Form: what is left of D3's windows (Bao et al., EMNLP 2024) in the caches that Flower (Gao et al.,
2025) publishes: columns `split` (train, valid, test, in this order), `seq_id` (the user),
`history_item_id` and `item_id`. The cache has no times, only periods of ten days with some of them
masked, so a column of them is not read; rows stand in order of time, and their number takes its
place.

Roles: `windows`; `items` (the .info.txt file). No fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config.cards import Categories
from bench.config.toml import Card, check_card
from bench.data.file_roles import require
from bench.data.prepared import SPLITS, Prepared
from bench.data.released_splits.files import CUT, table_rows, title_lines, uncategorized
from bench.data.released_splits.sequences import Row, Sequences
from bench.errors import BenchError

COLUMNS = ("split", "seq_id", "history_item_id", "item_id")
ORDER_FOR_TIMES = "The file has no times; in their place stands the number of the row."


class Fields(Card):
    """None: the columns have fixed names."""


def read(paths: Mapping[str, Path], fields: Mapping[str, Any], categories: Categories) -> Prepared:
    """Read the files of one data set.

    Raises:
        BenchError: For unfit fields or roles, or a file that is not as it should be, with its line.
    """
    check_card(fields, Fields, "The card's fields")
    require(paths, "d3-windows", ("windows", "items"))
    listed = title_lines(paths["items"])
    position = {item: number for number, item in enumerate(listed.written)}
    gathered = Sequences()
    latest = 0
    for number, (where, cells) in enumerate(table_rows(paths["windows"], COLUMNS)):
        split = cells["split"]
        if split not in SPLITS[latest:]:
            known = "out of the order train, valid, test" if split in SPLITS else "no split"
            raise BenchError(f"{where}: {split[:40]!r} is {known}.", CUT)
        latest = SPLITS.index(split)
        items = [*cells["history_item_id"].split(), cells["item_id"].strip()]
        row = Row(items=list(map(position.get, items)), user=cells["seq_id"], time=number)
        gathered.add(row, split)
    return gathered.finish(
        uncategorized(listed), categories, listed.counts, notes=(ORDER_FOR_TIMES,)
    )
