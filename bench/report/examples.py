"""A few test cases of a trial in full: history, generated text, recommendation and target.

They contain titles, which most licenses forbid to redistribute. So they are read from the store of
this machine, never from results, and only for pages that are shown here (`bench serve`) or that
somebody asks for by name (`bench report --examples`); results and committed pages have none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data import prepared
from bench.errors import BenchError
from bench.report.table import BoardTable
from bench.results.load import ResultSet
from bench.results.ranking_file import read_ranking
from bench.results.schema import Result
from bench.runner.store import Store

NUM_EXAMPLES = 3
NUM_HISTORY = 10
INPUTS = ("data", "cases", "ranking")
NO_ITEM = "no item of the catalog"


@dataclass(frozen=True, kw_only=True)
class Example:
    """One test case, in titles.

    Attributes:
        history: The last items before it, the latest last.
        generated: What the model generated; empty for methods that generate no text.
        top_item: The first item of the recommended list; target: the item that came next.
        rank: Rank of the target in the list, from 1; None where it is not in it.
    """

    case: str
    history: tuple[str, ...]
    generated: str
    top_item: str
    target: str
    rank: int | None


def board_examples(
    table: BoardTable, results: ResultSet, store: Store
) -> dict[str, tuple[Example, ...]]:
    """Read the examples of the first successful seed of each row, by trial."""
    trials = dict.fromkeys(row.successful[0].trial for _, row in table.rows if row.successful)
    examples = {}
    for trial in trials:
        result = results.get(trial)
        if result is not None:
            with contextlib.suppress(BenchError):  # the stored data changed: no example
                examples[trial] = read_examples(result, store)
    return examples


def read_examples(result: Result, store: Store) -> tuple[Example, ...]:
    """Read the first test cases of a trial, at most `NUM_EXAMPLES`, in test order.

    There are none where the store lacks an artifact, or lists were re-ranked.
    """
    folders = _input_folders(result, store)
    if folders is None:
        return ()
    data, cases, ranking = folders
    source = prepared.load(data)
    samples = prepared.load_rows(cases)[:NUM_EXAMPLES]
    windows, lists, catalog = source.windows(samples), read_ranking(ranking), source.catalog

    def title(item: int) -> str:
        return NO_ITEM if item < 0 else catalog.titles[item] or catalog.ids[item]

    examples = []
    for row, sample in enumerate(samples):
        history = [int(item) for item in windows.histories[row] if item >= 0]
        items, target = lists.items[row].tolist(), int(windows.targets[row])
        examples.append(
            Example(
                case=str(sample),
                history=tuple(map(title, history[-NUM_HISTORY:])),
                generated="" if lists.texts is None else lists.texts[row],
                top_item=title(items[0]),
                target=title(target),
                rank=items.index(target) + 1 if target >= 0 and target in items else None,
            )
        )
    return tuple(examples)


def _input_folders(result: Result, store: Store) -> Sequence[Path] | None:
    """Find the prepared data, the test cases and the final ranking behind a result."""
    kinds = {stage.key: stage.kind for stage in result.stages}
    # The final ranking is planned, and so evaluated, before those of checkpoints.
    final = next((stage.key for stage in result.stages if stage.kind == "evaluate"), None)
    meta = None if final is None else store.meta("evaluate", final)
    if meta is None:
        return None
    keys = [meta["inputs"].get(name) for name in INPUTS]
    if any(key not in kinds or store.meta(kinds[key], key) is None for key in keys):
        return None
    return [store.folder(kinds[key], key) for key in keys]
