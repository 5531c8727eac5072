"""Samples in S-DPO's form: names of a history, twenty candidates, and the one that was taken.

Form: Chen et al., NeurIPS 2024. Each split is a JSON list of objects: `historyList` (names joined
by two colons), `itemList` (the candidates) and `trueSelection` (the target, one of them). There are
no ids, users or times, and no catalog: the items are the names, in order of first appearance over
the splits. Candidates are items, but which row shows them is not kept: methods here rank the whole
catalog.

Roles: `valid`, `test` and, where it is to be had, `train`. No fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config.cards import Categories
from bench.config.toml import Card, check_card
from bench.data.catalog import Catalog
from bench.data.file_roles import require
from bench.data.json_lines import text
from bench.data.prepared import SPLITS, Prepared
from bench.data.raw import one_line
from bench.data.released_splits.files import RIGHT_FILES, whole_json
from bench.data.released_splits.sequences import Row, Sequences
from bench.errors import BenchError

BETWEEN = "::"
NO_CANDIDATES = (
    "The files' lists of candidates are not used: methods rank the whole catalog, which is a "
    "harder task than choosing from twenty."
)
NO_TRAIN = "There are no training rows: the card names no file in the role 'train'."


class Fields(Card):
    """None: the form leaves nothing open."""


def read(paths: Mapping[str, Path], fields: Mapping[str, Any], categories: Categories) -> Prepared:
    """Read the files of one data set.

    Raises:
        BenchError: For unfit fields or roles, or a file that is not as it should be.
    """
    check_card(fields, Fields, "The card's fields")
    require(paths, "sdpo-samples", ("valid", "test"), ("train",))
    position: dict[str, int] = {}
    gathered = Sequences()
    for split in SPLITS:
        samples = whole_json(paths[split], list) if split in paths else []
        for number, sample in enumerate(samples, start=1):
            where = f"Sample {number} of {paths[split].name}"
            history, candidates, target = _names(sample, where)
            for name in (*history, *candidates):
                if one_line(name):
                    position.setdefault(name, len(position))
            items = [position.get(name) for name in (*history, target)]
            gathered.add(Row(items=items), split)
    titles = tuple(one_line(name) for name in position)
    mended = sum(title != name.strip() for title, name in zip(titles, position, strict=True))
    return gathered.finish(
        Catalog(ids=tuple(position), titles=titles, categories=((),) * len(titles)),
        categories,
        {"titles mended": mended},
        notes=(NO_CANDIDATES,) if "train" in paths else (NO_CANDIDATES, NO_TRAIN),
    )


def _names(sample: object, where: str) -> tuple[list[str], list[str], str]:
    """Return history, candidates and target, whose place is among the candidates."""
    given = sample if isinstance(sample, dict) else {}
    history, candidates = given.get("historyList"), given.get("itemList")
    target = given.get("trueSelection")
    if not isinstance(history, str) or not isinstance(target, str):
        raise BenchError(f"{where} has no texts 'historyList' and 'trueSelection'.", RIGHT_FILES)
    if not isinstance(candidates, list) or not all(isinstance(one, str) for one in candidates):
        raise BenchError(f"{where} has no list of texts 'itemList'.", RIGHT_FILES)
    if target not in candidates:
        raise BenchError(
            f"{where} asks for {target[:40]!r}, which is not among its candidates.", RIGHT_FILES
        )
    shown = text(history).split(BETWEEN) if history else []
    return shown, list(map(text, candidates)), text(target)
