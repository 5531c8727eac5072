"""A results folder is loaded once, checked, and refused where it is of another schema."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from board_results import METRICS, NUM_CASES, Line, make

from bench.errors import BenchError
from bench.results.load import load_results, most_common_fingerprint, stack_seeds
from bench.results.schema import find_result, read_cases


def test_results_are_keyed_by_trial_and_ordered_by_seed_number(tmp_path: Path) -> None:
    _, cells = make(tmp_path, [Line("A", 0.3)], seeds=11)
    results = load_results(tmp_path)
    assert [result.seed for result in results] == list(range(11)), "seed-10 after seed-9"
    trial = cells[0][1].id
    assert results.get(trial) == find_result(tmp_path, trial)
    assert results.get("no/such/trial/seed-0") is None
    assert results.cases(trial).cases == read_cases(tmp_path, trial).cases


def test_one_bad_file_does_not_hide_the_others(tmp_path: Path) -> None:
    _, cells = make(tmp_path, [Line("A", 0.3), Line("B", 0.5)], seeds=2)
    torn, moved = (cells[index][1].id for index in (0, 1))
    (tmp_path / f"{torn}.json").write_text("{")
    (tmp_path / f"{moved}.json").write_bytes((tmp_path / f"{cells[2][1].id}.json").read_bytes())
    results = load_results(tmp_path)
    assert len(results) == 2
    assert "is not a result" in results.unreadable[torn].message
    assert "is the result of another trial" in results.unreadable[moved].message


def test_a_folder_of_another_schema_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    _, cells = make(tmp_path, [Line("A", 0.3)], seeds=1)
    path = tmp_path / f"{cells[0][1].id}.json"
    path.write_text(path.read_text().replace('"schema_version": 3', '"schema_version": 1'))
    with pytest.raises(BenchError, match="another schema version") as refused:
        load_results(tmp_path)
    assert str(path) in refused.value.message
    assert "Move the folder away" in refused.value.hint


def test_a_folder_that_does_not_exist_has_no_results(tmp_path: Path) -> None:
    results = load_results(tmp_path / "absent")
    assert len(results) == 0
    assert results.to_pandas().empty


def test_the_table_has_one_row_per_trial_ranking_and_metric(tmp_path: Path) -> None:
    make(tmp_path, [Line("A", 0.3), Line("Bad", reasons={0: "died", 1: "died"})], seeds=2)
    results = load_results(tmp_path)
    table = results.to_pandas()
    values = table[table["metric"] == "HR@5"]
    assert values["value"].tolist() == [
        result.evaluations["final"].metrics["HR@5"] for result in results if result.status == "ok"
    ]
    assert set(values["settings.row"]) == {"A"}
    assert set(METRICS) <= set(table["metric"].dropna())
    failed = table[table["status"] == "failed"]
    assert failed["reason"].tolist() == ["died", "died"]
    assert failed["value"].isna().all()


def test_samples_share_item_codes_and_mark_what_is_no_item(tmp_path: Path) -> None:
    _, cells = make(tmp_path, [Line("A", 0.3), Line("B", 0.9)], seeds=2)
    results = load_results(tmp_path)
    codes: dict[str, int] = {}
    for name in ("A", "B"):
        trials = [trial.id for line, trial in cells if line.name == name]
        tables = [results.cases(trial) for trial in trials]
        sample = stack_seeds(name, [results.results[trial] for trial in trials], tables, codes)
        assert sample.items.shape == (2, NUM_CASES, 6)
        assert sample.items[0, 1, 5] == -1
        for seed, table in enumerate(tables):
            expected = [[codes.get(item, -1) for item in items] for items in table.items]
            assert np.array_equal(sample.items[seed], expected)
    assert sorted(codes.values()) == list(range(len(codes)))


def test_lists_of_unequal_length_end_with_a_mark_of_their_own(tmp_path: Path) -> None:
    _, cells = make(tmp_path, [Line("A", 0.3)], seeds=1)
    results = load_results(tmp_path)
    table = results.cases(cells[0][1].id)
    ragged = np.empty(NUM_CASES, dtype=object)
    ragged[:] = [list(items) for items in table.items]
    ragged[2] = ["i1", None]
    short = type(table)(**{**vars(table), "items": ragged})
    codes: dict[str, int] = {}
    sample = stack_seeds("A", [*results], [short], codes)
    assert sample.items[0, 2].tolist() == [codes["i1"], -1, -2, -2, -2, -2]


def test_a_row_is_read_once(tmp_path: Path) -> None:
    _, cells = make(tmp_path, [Line("A", 0.3)], seeds=2)
    results = load_results(tmp_path)
    trials = [trial.id for _, trial in cells]
    first = results.sample("A", trials)
    for path in tmp_path.rglob("*.parquet"):
        path.unlink()
    assert results.sample("A", trials) is first
    with pytest.raises(BenchError, match="cannot be read"):
        load_results(tmp_path).sample("A", trials)


def test_the_data_of_most_results_counts(tmp_path: Path) -> None:
    make(tmp_path, [Line("A", fingerprint="a"), Line("B", fingerprint="b")], seeds=2)
    results = list(load_results(tmp_path))
    chosen = [*results[:2], results[2]]
    assert most_common_fingerprint(chosen) == chosen[0].data.fingerprint
    assert most_common_fingerprint([]) == ""
