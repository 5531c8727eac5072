"""Sliding windows as one table a split: a user, the numbers of history and target, a time.

Form: the tables behind BIGRec's texts (Bao et al., 2023), as MSL (Wang et al., 2025) publishes
them: columns `user_id`, `item_ids` (a list, the target last) and `timestamp` (the target's, seconds
since 1970, UTC). Rows stand in order of that time. BIGRec's own texts are SPRec's form, whose
reader takes BIGRec's catalog of lines, too.

Roles: `train`, `test`; `items` (titles by id: a JSON object or lines `title TAB id`); `valid` where
there is one. No fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config.cards import Categories
from bench.config.toml import Card, check_card
from bench.data.file_roles import require
from bench.data.parse_numbers import whole_seconds
from bench.data.prepared import SPLITS, Prepared
from bench.data.released_splits.files import CUT, json_list, table_rows, title_file, uncategorized
from bench.data.released_splits.sequences import Row, Sequences
from bench.errors import BenchError

COLUMNS = ("user_id", "item_ids", "timestamp")
TARGET_TIMES = (
    "The files tell the targets' times alone; where a user's rows begin, the history has the time "
    "of the first target."
)
NO_VALID = "There are no validation rows: the card names no file in the role 'valid'."


class Fields(Card):
    """None: the columns have fixed names."""


def read(paths: Mapping[str, Path], fields: Mapping[str, Any], categories: Categories) -> Prepared:
    """Read the files of one data set.

    Raises:
        BenchError: For unfit fields or roles, or a file that is not as it should be, with its line.
    """
    check_card(fields, Fields, "The card's fields")
    require(paths, "bigrec-samples", ("train", "test", "items"), ("valid",))
    listed = title_file(paths["items"])
    position = {item: number for number, item in enumerate(listed.written)}
    gathered = Sequences()
    for split in SPLITS:
        if split not in paths:
            continue
        for where, cells in table_rows(paths[split], COLUMNS):
            items = json_list(cells["item_ids"], "item_ids", where)
            if not items:
                raise BenchError(f"{where} has neither a history nor a target.", CUT)
            row = Row(
                items=[position.get(str(item)) for item in items],
                user=cells["user_id"],
                time=whole_seconds(cells["timestamp"], where),
            )
            gathered.add(row, split)
    return gathered.finish(
        uncategorized(listed),
        categories,
        listed.counts,
        notes=(TARGET_TIMES,) if "valid" in paths else (TARGET_TIMES, NO_VALID),
    )
