"""S-DPO's samples: names of a history, twenty candidates, and the selected one.

Format: Chen et al., NeurIPS 2024. Each split is a JSON list of objects: `historyList` (names joined
by two colons), `itemList` (the candidates) and `trueSelection` (the target, one of them). There are
no ids, users, times or item file: the items are the names, in order of first appearance over the
splits. Candidates are items, but each row's candidate list is dropped: methods here rank the whole
catalog.

Roles: `valid`, `test` and optionally `train`. No fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.config.cards import Categories
from bench.data.prepared import SPLITS, Prepared
from bench.data.raw import one_line
from bench.data.released_splits.item_titles import collect_titles
from bench.data.released_splits.sequences import SequenceBuilder
from bench.data.text_files import read_json
from bench.data.values import CHECK_CARD, EXCERPT, as_text
from bench.errors import BenchError

REQUIRED_ROLES, OPTIONAL_ROLES = ("valid", "test"), ("train",)
NO_CANDIDATES = (
    "The files' lists of candidates are not used: methods rank the whole catalog, which is harder "
    "than choosing from twenty."
)
NO_TRAIN = "There are no training rows: the card names no file in the role 'train'."


def read(paths: Mapping[str, Path], categories: Categories) -> Prepared:
    """Read the files of one data set."""
    index: dict[str, int] = {}
    builder = SequenceBuilder()
    for split in filter(paths.__contains__, SPLITS):
        for number, sample in enumerate(read_json(paths[split], list), start=1):
            where = f"Sample {number} of {paths[split].name}"
            history, candidates, target = _parse_sample(sample, where)
            for name in filter(one_line, (*history, *candidates)):
                index.setdefault(name, len(index))
            builder.add(split, [index.get(name) for name in (*history, target)])
    titles = collect_titles((name, name) for name in index)
    notes = (NO_CANDIDATES,) if "train" in paths else (NO_CANDIDATES, NO_TRAIN)
    return builder.finish(titles.catalog(), titles.counts, categories, notes)


def _parse_sample(sample: object, where: str) -> tuple[list[str], list[str], str]:
    """Return history, candidates and target, which is one of the candidates."""
    record = sample if isinstance(sample, dict) else {}
    history, candidates = record.get("historyList"), record.get("itemList")
    target = record.get("trueSelection")
    if not isinstance(history, str) or not isinstance(target, str):
        raise BenchError(f"{where} has no texts 'historyList' and 'trueSelection'.", CHECK_CARD)
    if not isinstance(candidates, list) or not all(isinstance(name, str) for name in candidates):
        raise BenchError(f"{where} has no list of texts 'itemList'.", CHECK_CARD)
    if target not in candidates:
        raise BenchError(
            f"{where}: the target {target[:EXCERPT]!r} is not among its candidates.", CHECK_CARD
        )
    names = as_text(history).split("::") if history else []
    return names, list(map(as_text, candidates)), as_text(target)
