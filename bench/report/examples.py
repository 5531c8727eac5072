"""A few test cases of a trial in full: what was seen, written, shown and wanted.

They hold titles, which most licenses forbid to pass on. So they are read from the store of this
machine, never from results, and only for pages that are shown here (`bench serve`) or that somebody
asks for by name (`bench report --examples`); results and committed pages have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data import prepared
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
        case: Its number, as in the result.
        history: The last items before it, the latest last.
        written: What the model wrote; empty for methods that write nothing.
        shown: The first item of its list.
        target: The item that it was.
        place: Place of the target in the list from 1; None where it is not on it.
    """

    case: str
    history: tuple[str, ...]
    written: str
    shown: str
    target: str
    place: int | None


def read_examples(result: Result, store: Store) -> tuple[Example, ...]:
    """Read the first test cases of a trial, those that start the order of the test.

    Returns:
        At most `NUM_EXAMPLES`; none where the store lacks what it takes, or lists were re-ranked.
    """
    folders = _folders(result, store)
    if folders is None:
        return ()
    data, cases, ranking = folders
    source = prepared.shared(data)
    samples = prepared.shared_rows(cases)[:NUM_EXAMPLES]
    windows, lists = source.windows(samples), read_ranking(ranking)
    catalog = source.catalog

    def title(item: int) -> str:
        return NO_ITEM if item < 0 else catalog.titles[item] or catalog.ids[item]

    found = []
    for row, sample in enumerate(samples):
        history = [int(item) for item in windows.histories[row] if item >= 0]
        items, target = lists.items[row].tolist(), int(windows.targets[row])
        found.append(
            Example(
                case=str(sample),
                history=tuple(title(item) for item in history[-NUM_HISTORY:]),
                written="" if lists.texts is None else lists.texts[row],
                shown=title(items[0]),
                target=title(target),
                place=items.index(target) + 1 if target >= 0 and target in items else None,
            )
        )
    return tuple(found)


def _folders(result: Result, store: Store) -> Sequence[Path] | None:
    """Find the prepared data, the test cases and the final ranking behind a result."""
    kinds = {stage.key: stage.kind for stage in result.stages}
    # The final ranking is planned, and so evaluated, before those of checkpoints.
    final = next((one.key for one in result.stages if one.kind == "evaluate"), None)
    meta = None if final is None else store.meta("evaluate", final)
    if meta is None:
        return None
    keys = [meta["inputs"].get(name) for name in INPUTS]
    if any(key not in kinds or store.meta(kinds[key], key) is None for key in keys):
        return None
    return [store.folder(kinds[key], key) for key in keys]
