"""Rankings in TREC's two formats: a run (recommended items) and qrels (relevant items).

    <case> Q0 <item> <rank from 1> <score> <tag>
    <case> 0 <item> 1

A case is a topic with one relevant item. Tools for these files order a list by score, so scores
here count down. A rank without an item of the catalog, or with a repeated one, is kept under a name
that is no item's: nDCG@k and Success@k of these files equal our NDCG@k and HR@k. A name with
blanks, which these files cannot contain, is a BenchError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.data.prepared import Prepared
from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.results.schema import CaseTable, Result
from bench.results.score_file import RankingFile

NO_ITEM = "(no-item)-"


def format_run(lists: Mapping[str, Sequence[str | None]], tag: str) -> str:
    """Write a run from the items of each case, best first; None where a rank has no item."""
    lines = []
    for case, items in lists.items():
        seen: set[str | None] = {None}
        for rank, item in enumerate(items, start=1):
            name = f"{NO_ITEM}{rank}" if item in seen or item is None else _check_name(item)
            seen.add(item)
            score = len(items) - rank + 1
            lines.append(f"{_check_name(case)} Q0 {name} {rank} {score} {_check_name(tag)}")
    return "\n".join(lines) + "\n"


def format_qrels(targets: Mapping[str, str]) -> str:
    """Write qrels from each case's target."""
    return "".join(
        f"{_check_name(case)} 0 {_check_name(item)} 1\n" for case, item in targets.items()
    )


def convert_file(file: RankingFile, tag: str) -> tuple[str, str]:
    """Return run and qrels of a ranking file."""
    run = format_run({case.case: case.items for case in file.cases}, tag)
    return run, format_qrels({case.case: case.target for case in file.cases})


def convert_result(result: Result, table: CaseTable, prepared: Prepared) -> tuple[str, str]:
    """Return run and qrels of a result; its targets come from the data that it was run on.

    Raises:
        BenchError: If it re-ranked lists, or was run on other data.
    """
    assert result.data is not None, "a result without data has no ranking"
    if not all(get_metric(name).of_rankings for name in result.evaluations["final"].metrics):
        message = f"{result.trial} re-ranked lists, which have several relevant items."
        raise BenchError(message, "Only rankings of the catalog can be written in TREC's format.")
    if result.data.fingerprint != prepared.fingerprint:
        message = f"{result.trial} was run on other data than {result.dataset} is here."
        raise BenchError(message, "Name the same raw files with --file or --data-dir.")
    run = format_run(dict(zip(table.cases, table.items.tolist(), strict=True)), result.trial)
    ids, targets = prepared.catalog.ids, prepared.items[prepared.target].tolist()
    return run, format_qrels({case: ids[targets[int(case)]] for case in table.cases})


def _check_name(name: str) -> str:
    if not name or name.split() != [name] or name.startswith(NO_ITEM):
        message = f"{name!r} cannot be a name in a TREC file."
        raise BenchError(message, "Spaces separate columns; rename it.")
    return name
