"""Rankings in TREC's two files: a run (what was recommended) and qrels (what came next).

    <case> Q0 <item> <rank from 1> <score> <tag>
    <case> 0 <item> 1

A case is a topic with one relevant item. Tools for these files order a list by score, so that
scores here only count down. A place without an item of the catalog, or with one that stood
before, keeps its rank under a name that is no item's: nDCG@k and Success@k of these files are our
NDCG@k and HR@k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.data.prepared import Prepared
from bench.errors import BenchError
from bench.metrics.registry import get_metric
from bench.results.schema import CaseTable, Result
from bench.results.score_file import RankingFile

NO_ITEM = "(no-item)-"


def run_text(lists: Mapping[str, Sequence[str | None]], tag: str) -> str:
    """Write a run.

    Args:
        lists: Items by case, best first; None where a place holds no item.
        tag: Name of what ranked them.

    Raises:
        BenchError: If a case or an item has a name that these files cannot hold.
    """
    lines = []
    for case, items in lists.items():
        seen: set[str | None] = {None}
        for place, item in enumerate(items):
            name = f"{NO_ITEM}{place + 1}" if item in seen or item is None else _word(item)
            seen.add(item)
            lines.append(f"{_word(case)} Q0 {name} {place + 1} {len(items) - place} {_word(tag)}")
    return "\n".join(lines) + "\n"


def qrels_text(targets: Mapping[str, str]) -> str:
    """Write qrels from each case's target.

    Raises:
        BenchError: If a case or an item has a name that these files cannot hold.
    """
    return "".join(f"{_word(case)} 0 {_word(item)} 1\n" for case, item in targets.items())


def of_file(file: RankingFile, tag: str) -> tuple[str, str]:
    """Return run and qrels of a ranking file."""
    run = run_text({case.case: case.items for case in file.cases}, tag)
    return run, qrels_text({case.case: case.target for case in file.cases})


def of_result(result: Result, table: CaseTable, prepared: Prepared) -> tuple[str, str]:
    """Return run and qrels of a result; its targets stand in the data that it was run on.

    Raises:
        BenchError: If it re-ranked lists, or was run on other data.
    """
    assert result.data is not None, "a result without data has no ranking"
    if not all(get_metric(name).of_rankings for name in result.evaluations["final"].metrics):
        raise BenchError(
            f"{result.trial} re-ranked lists, whose relevant items are several.",
            "Only rankings of the catalog are written in TREC's form.",
        )
    if result.data.fingerprint != prepared.fingerprint:
        raise BenchError(
            f"{result.trial} was run on other data than {result.dataset} is here.",
            "Name the same raw files with --file or --data-dir.",
        )
    run = run_text(dict(zip(table.cases, table.items.tolist(), strict=True)), result.trial)
    ids, targets = prepared.catalog.ids, prepared.items[prepared.target].tolist()
    return run, qrels_text({case: ids[targets[int(case)]] for case in table.cases})


def _word(name: str) -> str:
    if not name or name.split() != [name] or name.startswith(NO_ITEM):
        raise BenchError(
            f"{name!r} cannot stand in a TREC file.", "Its columns are parted by spaces; rename it."
        )
    return name
