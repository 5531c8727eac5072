"""The test cases of a board: to be ranked elsewhere, and to recompute results from item ids."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.config import plugins
from bench.config.cards import BoardCard
from bench.config.request import DataOptions, RunRequest
from bench.data import prepared, prepared_lists
from bench.data.ranking import LIST_ENDS, NOT_AN_ITEM, Ranking
from bench.errors import BenchError, unknown
from bench.hashing import Job
from bench.plan.board_selection import select_boards
from bench.plan.item_stages import evaluate
from bench.plan.rerank_stages import evaluate_lists
from bench.plan.stage import Stage
from bench.plan.trials import BoardSelection, compose_data
from bench.plan.types import Data
from bench.results.ranking_file import write_ranking
from bench.runner.prepared_data import materialize
from bench.stages import evaluate as evaluate_stage
from bench.stages import evaluate_lists as evaluate_lists_stage

UNRANKED = Stage(kind="rank")


@dataclass(frozen=True, kw_only=True)
class BoardCases:
    """The test cases of a board on one data set.

    Attributes:
        card: The board's; data: the data as the board draws them.
        folders: Artifacts by the names of the evaluation's inputs, without the ranking.
    """

    dataset: str
    card: BoardCard
    data: Data
    folders: dict[str, Path]

    @cached_property
    def cases(self) -> list[dict[str, Any]]:
        """Case, user, history (oldest first) and target of each case, as ids; no titles.

        For re-ranking: case, user and items, the candidates in the given order.
        """
        return list(self._list_cases() if self.data.lists is None else self._list_candidates())

    def _list_cases(self) -> Iterator[dict[str, Any]]:
        source = prepared.load(self.folders["data"])
        samples = prepared.load_rows(self.folders["cases"])
        windows, ids = source.windows(samples), source.catalog.ids
        for sample, user, history, target in zip(
            samples, windows.users, windows.histories, windows.targets, strict=True
        ):
            yield {
                "case": str(sample),
                "user": source.user_ids[user],
                "history": [ids[item] for item in history if item >= 0],
                "target": ids[target] if target >= 0 else None,
            }

    def _list_candidates(self) -> Iterator[dict[str, Any]]:
        source = prepared_lists.load(self.folders["lists"])
        for row in source.rows("test"):
            user = source.user_ids[source.users[row]]
            items = [source.item_ids[item] for item in source.items[row]]
            yield {"case": f"{user}:{source.first[row]}", "user": user, "items": items}

    def evaluate(
        self,
        rankings: Sequence[Sequence[str | None]],
        ks: Sequence[int],
        out: Path,
        *,
        valid: NDArray[np.bool_] | None = None,
        stored: Path | None = None,
    ) -> dict[str, Any]:
        """Evaluate one list of item ids per case, in order, as a run does; fill a folder.

        A user may have rated an item of a candidate list twice. Ids do not tell its copies apart,
        so these take the order, if there is any, that gives the row of the case in `stored`.

        Args:
            rankings: Item ids, best first; None where a text named no item.
            ks: Cut-offs.
            out: Existing folder for `cases.parquet` and `ranking.parquet`.
            valid: Whether the text of each case was exactly a title; see `Ranking.valid`.
            stored: The `cases.parquet` of a run.

        Returns:
            The content of `evaluation.json`.

        Raises:
            BenchError: A list names unknown items, one item twice, or is too short.
        """
        config: Any
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if self.data.lists is None:
                exclude = self.card.exclude_seen
                config = evaluate(UNRANKED, self.data.test, ks=ks, exclude_seen=exclude).config
                catalog = prepared.load(self.folders["data"]).catalog
                write_ranking(self._index(rankings, catalog.ids, valid), folder)
                evaluate_stage.run(Job(out=out), config, {**self.folders, "ranking": folder})
            else:
                config = evaluate_lists(UNRANKED, self.data.lists, ks=ks).config
                lists = prepared_lists.load(self.folders["lists"])
                test = lists.rows("test")
                cases, scores = self._score_lists(rankings, lists.labels[test] > 0)
                inputs = {**self.folders, "scores": folder}
                row_of_case = np.unique(cases, return_index=True)[1]
                if stored and len(row_of_case) < len(cases):
                    prepared_lists.write_scores(test[cases], scores, folder)
                    evaluate_lists_stage.run(Job(out=folder), config, inputs)
                    row_of_case = _choose_rows(stored, folder / "cases.parquet", cases, row_of_case)
                prepared_lists.write_scores(test, scores[row_of_case], folder)
                evaluate_lists_stage.run(Job(out=out), config, inputs)
        content: dict[str, Any] = json.loads((out / "evaluation.json").read_bytes())
        return content

    def _index(
        self,
        rankings: Sequence[Sequence[str | None]],
        ids: Sequence[str],
        valid: NDArray[np.bool_] | None,
    ) -> Ranking:
        index_of: dict[str | None, int] = {id_: index for index, id_ in enumerate(ids)}
        index_of[None] = NOT_AN_ITEM
        items = np.full((len(rankings), max(map(len, rankings))), LIST_ENDS, dtype=np.int32)
        for case, row, ranked in zip(self.cases, items, rankings, strict=True):
            for position, item in enumerate(ranked):
                if item not in index_of:
                    raise BenchError(
                        f"The list of case {case['case']} has the item {item!r}, which is not in "
                        f"the catalog of {self.dataset}.",
                        "Rank the items of this edition of the data: bench export cases BOARD.",
                    )
                row[position] = index_of[item]
            named = row[row >= 0]
            if len(np.unique(named)) < len(named):
                raise BenchError(f"The list of case {case['case']} has an item twice.")
        return Ranking(items=items, valid=valid)

    def _score_lists(
        self, rankings: Sequence[Sequence[str | None]], is_positive: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Score candidates so that they take the order of their ranking.

        `is_positive` has the shape (cases, candidates).

        Returns:
            Case of each row of scores, ascending, and the rows: one per order of the copies.
        """
        numbers, scores = [], []
        for number, (case, ranked) in enumerate(zip(self.cases, rankings, strict=True)):
            if sorted(map(str, ranked)) != sorted(case["items"]):
                raise BenchError(
                    f"The list of case {case['case']} does not have the items of its candidate "
                    "list, each once.",
                )
            for positions in _match_positions(case["items"], is_positive[number], ranked):
                numbers.append(number)
                scores.append(-positions)
        return np.array(numbers), np.array(scores, dtype=np.float64)


def _match_positions(
    items: Sequence[str], is_positive: NDArray[np.bool_], ranked: Sequence[str | None]
) -> Iterator[NDArray[np.int64]]:
    """Give the positions of items in their ranking, once per order of copies with other labels.

    A list of 10 has 252 such orders at most.
    """
    groups = []
    for item in dict.fromkeys(items):
        copies = [index for index, id_ in enumerate(items) if id_ == item]
        targets = [position for position, id_ in enumerate(ranked) if id_ == item]
        copies.sort(key=lambda index: not is_positive[index])
        groups.append(
            [
                (copies, [*first, *(target for target in targets if target not in first)])
                for first in combinations(targets, int(is_positive[copies].sum()))
            ]
        )
    for group in product(*groups):
        positions = np.zeros(len(items), dtype=np.int64)
        for copies, targets in group:
            positions[copies] = targets
        yield positions


def _choose_rows(
    stored: Path, computed: Path, cases: NDArray[np.int64], row_of_case: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Choose a row of a computed table per case: one that equals the stored one, or the first."""
    rows = {row["case"]: row for row in pq.read_table(stored).to_pylist()}
    row_of_case = row_of_case.copy()
    several = np.flatnonzero(np.bincount(cases)[cases] > 1)
    for index, row in zip(several, pq.read_table(computed).take(several).to_pylist(), strict=True):
        other = rows.get(row["case"], {})
        if all(_is_equal(other.get(name), value) for name, value in row.items()):
            row_of_case[cases[index]] = index
    return row_of_case


def load_board_cases(board: str | BoardSelection, dataset: str, options: DataOptions) -> BoardCases:
    """Prepare the test cases of a board, as declared or as it was run, on one of its data sets.

    Raises:
        BenchError: The board does not have the data set, or its raw files are missing.
    """
    selection = select_boards(RunRequest(board=board)) if isinstance(board, str) else board
    card = selection.boards[0].card
    if dataset not in card.datasets:
        raise unknown(f"data set of {selection.boards[0].name}", dataset, card.datasets)
    rows = selection.rows.apply(plugins.budget_card(card.budget).rows)
    data, _ = compose_data(
        dataset,
        rows=rows,
        data_seed=card.data_seed,
        strict=card.strict,
        data_dir=options.data_dir,
        files=selection.files.get(dataset),
        candidates=card.candidates,
        group_titles=card.group_titles,
    )
    tasks = {getattr(plugins.method_class(row.method), "TASK", "") for row in card.rows}
    if "rerank" not in tasks:
        stages = {"data": data.test.data, "cases": data.test.stage}
        data = Data(name=data.name, train=data.train, valid=data.valid, test=data.test)
    else:
        assert data.lists is not None, "a board of re-rankers has lists"
        stages = {"lists": data.lists.stage}
    folders = {name: materialize(stage, options) for name, stage in stages.items()}
    return BoardCases(dataset=dataset, card=card, data=data, folders=folders)


def require_equal(stored: Path, computed: Path, where: str, depth: int) -> None:
    """Refuse a table that differs from the one that was computed from its rankings.

    `where` names what it belongs to; ranks from `depth`, the length of the stored lists, on are
    known to the run alone.

    Raises:
        BenchError: A case is missing, or a value differs; the first one is named.
    """
    first, second = (pq.read_table(path).to_pydict() for path in (stored, computed))
    require_cases(first["case"], second["case"], where)
    for name, values in second.items():
        if name not in first:
            raise BenchError(f"{where}: the column {name!r} is missing.")
        for case, a, b in zip(second["case"], first[name], values, strict=True):
            if name == "rank" and a >= depth:
                a = -1
            if not _is_equal(a, b):
                raise BenchError(
                    f"{where}: case {case} has {name} {a!r}, and its ranking gives {b!r}.",
                    "The numbers were edited, or come from other lists, data or code.",
                )


def require_cases(cases: Sequence[str], expected: Sequence[str], where: str) -> None:
    """Refuse other test cases than the board's, or the board's in another order."""
    if cases != expected:
        missing = sorted(set(expected) - set(cases))
        problem = f"{len(missing)} missing ({', '.join(missing[:3])})" if missing else "others"
        raise BenchError(f"{where}: its test cases are not those of the board: {problem}.")


def _is_equal(a: Any, b: Any) -> bool:
    if a == b:
        return True
    try:
        first, second = np.array(a, dtype=np.float64), np.array(b, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=1e-9, atol=1e-12))
