"""Scoring of outside files: the worked vector in every format, and a sentence for every mistake."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import BenchError
from bench.results.score_file import RankingFile, read_catalog, read_ranking, score_ranking

CASES: list[dict[str, Any]] = [
    {"case": 1, "user": "u1", "history": ["A", "B"], "target": "B", "items": ["B", "A"]},
    {"case": 2, "user": "u2", "history": ["C", "Z"], "target": "E", "items": ["A", "D"]},
    {"case": 3, "user": "u3", "history": ["D", "E"], "target": "A", "items": ["E", "A"]},
    {"case": 4, "user": "u4", "history": ["B", "B"], "target": "Y", "items": ["A", "B"]},
]
ITEMS: list[dict[str, Any]] = [
    {"id": "A", "title": "Alpha", "categories": ["g1"]},
    {"id": "B", "title": "Beta, the second", "categories": ["g1", "g2"]},
    {"id": "C", "title": "Gamma", "categories": ["g2"]},
    {"id": "D", "title": "Delta", "categories": []},
    {"id": "E", "title": "Epsilon", "categories": ["g3"]},
]
VECTOR_R = {
    "HR@1": 0.25,
    "HR@2": 0.5,
    "NDCG@1": 0.25,
    "NDCG@2": 0.407732,
    "DivRatio@1": 1.0,
    "DivRatio@2": 0.666667,
    "ORRatio@1": 1.0,
    "ORRatio@2": 0.833333,
    "GU[g1]@1": 0.083333,
    "GU[g2]@1": 0.25,
    "GU[g3]@1": 0.166667,
    "GU[g1]@2": 0.283333,
    "GU[g2]@2": 0.316667,
    "GU[g3]@2": 0.033333,
    "MGU@1": 0.166667,
    "MGU@2": 0.211111,
    "DGU@1": 0.416667,
    "DGU@2": 0.6,
    "Coverage@1": 0.6,
    "Coverage@2": 0.8,
    "Gini@1": 0.4,
    "Gini@2": 0.4,
    "Hallucination": 0.0,
}


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def as_table(separator: str) -> Callable[[list[dict[str, Any]]], bytes]:
    def write(rows: list[dict[str, Any]]) -> bytes:
        lines = [separator.join(("id", "title", "categories"))]
        lines += [
            separator.join((row["id"], f'"{row["title"]}"', " | ".join(row["categories"])))
            for row in rows
        ]
        return "\r\n".join(lines).encode("utf-8-sig")

    return write


def ranking_file(folder: Path, rows: list[dict[str, Any]]) -> RankingFile:
    path = folder / "runs.jsonl"
    path.write_bytes(as_lines(rows))
    return read_ranking(path)


def packed(rows: list[dict[str, Any]]) -> bytes:
    return gzip.compress(as_lines(rows))


RANKING_FORMATS = {"r.jsonl": as_lines, "r.jsonl.gz": packed, "r.parquet": as_parquet}
CATALOG_FORMATS = {
    "c.jsonl": as_lines,
    "c.jsonl.gz": packed,
    "c.json": lambda rows: json.dumps(rows).encode(),
    "c.parquet": as_parquet,
    "c.csv": as_table(","),
    "c.tsv": as_table("\t"),
}


@pytest.mark.parametrize("name", RANKING_FORMATS)
def test_vector_r_from_each_ranking_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(RANKING_FORMATS[name](CASES))
    (tmp_path / "c.jsonl").write_bytes(as_lines(ITEMS))
    metrics = score_ranking(
        read_ranking(tmp_path / name), read_catalog(tmp_path / "c.jsonl"), (1, 2)
    )
    assert metrics == pytest.approx(VECTOR_R, abs=1e-6)


@pytest.mark.parametrize("name", CATALOG_FORMATS)
def test_each_catalog_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CATALOG_FORMATS[name](ITEMS))
    catalog = read_catalog(tmp_path / name)
    assert catalog.ids == ("A", "B", "C", "D", "E")
    assert catalog.titles[1] == "Beta, the second"
    assert catalog.categories == (("g1",), ("g1", "g2"), ("g2",), (), ("g3",))
    assert catalog.tracked == ("g1", "g2", "g3")


def test_without_a_catalog_only_what_needs_none(tmp_path: Path) -> None:
    metrics = score_ranking(ranking_file(tmp_path, CASES), None, (1,))
    assert set(metrics) == {"HR@1", "NDCG@1", "DivRatio@1", "ORRatio@1"}
    assert metrics["HR@1"] == 0.25
    assert metrics["DivRatio@1"] == pytest.approx(3 / 4)


def catalog_at(folder: Path) -> Any:
    path = folder / "c.jsonl"
    path.write_bytes(as_lines(ITEMS))
    return read_catalog(path)


def test_the_named_categories_are_tracked(tmp_path: Path) -> None:
    file, catalog = ranking_file(tmp_path, CASES), catalog_at(tmp_path)
    metrics = score_ranking(file, catalog, (1,), tracked=["g3", "g1"])
    assert [name for name in metrics if name.startswith("GU")] == ["GU[g3]@1", "GU[g1]@1"]
    with pytest.raises(BenchError, match="There is no category named 'g9'"):
        score_ranking(file, catalog, (1,), tracked=["g9"])
    with pytest.raises(BenchError, match="tracked categories are"):
        score_ranking(file, catalog, (1,), tracked=["g1", "g1"])
    with pytest.raises(BenchError, match="only with a catalog"):
        score_ranking(file, None, (1,), tracked=["g1"])


def test_an_id_outside_the_catalog_is_hallucinated(tmp_path: Path) -> None:
    cases = [{**CASES[0], "items": ["X", "B"]}, CASES[1]]
    metrics = score_ranking(ranking_file(tmp_path, cases), catalog_at(tmp_path), (1, 2))
    assert metrics["Hallucination"] == 0.5
    assert metrics["HR@2"] == 0.5
    assert metrics["DivRatio@2"] == pytest.approx(3 / 4)


def test_ids_are_the_same_as_numbers_and_as_text(tmp_path: Path) -> None:
    cases = [{"case": 1, "user": 2, "history": [], "target": 7, "items": ["7", "8"]}]
    assert score_ranking(ranking_file(tmp_path, cases), None, (1,))["HR@1"] == 1


def test_lists_may_be_longer_than_k_and_differ_in_length(tmp_path: Path) -> None:
    cases = [CASES[0], {**CASES[1], "items": ["A", "D", "E"], "note": "a further key"}]
    assert score_ranking(ranking_file(tmp_path, cases), None, (2,))["HR@2"] == 0.5


def test_fewer_items_than_k(tmp_path: Path) -> None:
    file = ranking_file(tmp_path, CASES)
    with pytest.raises(BenchError) as caught:
        score_ranking(file, None, (1, 5))
    assert caught.value.message == "Line 1 of runs.jsonl: case '1' has 2 items, but k is 5."


GOOD = as_lines(CASES[:1])


def case(**changes: object) -> bytes:
    return GOOD + as_lines([{**CASES[1], **changes}])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("r.jsonl", b"", "r.jsonl is empty."),
        ("r.jsonl", b"\n \n", "r.jsonl is empty."),
        ("r.jsonl", GOOD + b"\n{oops\n", "Line 3 of r.jsonl is not JSON: Expecting property name"),
        ("r.jsonl", GOOD + b"[1, 2]\n", "Line 2 of r.jsonl is not an object."),
        ("r.jsonl", GOOD + b'{"case": 2}\n', "Line 2 of r.jsonl has no 'user'."),
        ("r.jsonl", GOOD + b"[" * 100_000, "Line 2 of r.jsonl has a number too long or lists"),
        ("r.jsonl", GOOD + b'"caf\xe9"\n', "Line 2 of r.jsonl is not UTF-8."),
        ("r.jsonl", GOOD + GOOD, "Line 2 of r.jsonl: the case '1' repeats."),
        ("r.jsonl", case(case="1"), "Line 2 of r.jsonl: the case '1' repeats."),
        ("r.jsonl", case(history="A"), "Line 2 of r.jsonl: 'A' in 'history' is not a list."),
        ("r.jsonl", case(history=None), "Line 2 of r.jsonl: None in 'history' is not a list."),
        ("r.jsonl", case(items={"A": 1}), "Line 2 of r.jsonl: {'A': 1} in 'items' is not a list."),
        ("r.jsonl", case(items=["A", 1.5]), "Line 2 of r.jsonl: 1.5 in 'items' is neither an"),
        ("r.jsonl", case(target=True), "Line 2 of r.jsonl: True in 'target' is neither an"),
        ("r.jsonl", case(user=""), "Line 2 of r.jsonl: '' in 'user' is neither an integer nor"),
        ("r.jsonl.gz", packed(CASES)[:-12], "r.jsonl.gz is truncated or not gzip."),
        ("r.jsonl.gz", GOOD, "r.jsonl.gz is truncated or not gzip."),
        ("r.parquet", as_parquet(CASES)[:-9], "r.parquet is truncated or not parquet."),
        ("r.parquet", GOOD, "r.parquet is truncated or not parquet."),
        ("r.parquet", as_parquet([{"case": 1}]), "Row 1 of r.parquet has no 'user'."),
        ("r.parquet", as_parquet([{"other": 1}]), "Row 1 of r.parquet has no 'case'."),
        ("r.parquet", as_parquet([{**CASES[0], "target": 2.5}]), "Row 1 of r.parquet: 2.5 in"),
        ("r.pkl", GOOD, "r.pkl is of no supported kind."),
        ("r.parquet.gz", GOOD, "r.parquet.gz is of no supported kind."),
    ],
)
def test_bad_ranking_files(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchError) as caught:
        read_ranking(tmp_path / name)
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("c.json", b"", "c.json is empty."),
        ("c.json", b"[]", "c.json is empty."),
        ("c.json", b'{"id": "A"}', "c.json is not a JSON list."),
        ("c.json", b'[{"id": "A"}]', "Item 1 of c.json has no 'title'."),
        (
            "c.json",
            b'[\n{"id": "A"',
            "c.json is not JSON: Expecting ',' delimiter at character 13.",
        ),
        ("c.jsonl", as_lines(ITEMS[:1] * 2), "Line 2 of c.jsonl: the id 'A' repeats."),
        ("c.jsonl", as_lines([{**ITEMS[0], "title": 3}]), "Line 1 of c.jsonl: 3 in 'title' is not"),
        ("c.jsonl", as_lines([{**ITEMS[0], "categories": [""]}]), "Line 1 of c.jsonl: '' in 'cate"),
        ("c.csv", b"", "c.csv is empty."),
        ("c.csv", b"id,title\nA,Alpha\n", "Line 2 of c.csv has no 'categories'."),
        (
            "c.csv",
            b"id,title,categories\nA,Al,pha,g1\n",
            "Line 2 of c.csv does not have as many",
        ),
        (
            "c.tsv",
            b"id\ttitle\tcategories\nA\tAl\n",
            "Line 2 of c.tsv does not have as many",
        ),
        ("c.csv", b'id,title,categories\nA,"Al"x,g\n', "Line 2 of c.csv is not CSV:"),
        ("c.csv", b'id,title,categories\nA,"Al,g\n', "Line 2 of c.csv is not CSV:"),
        ("c.txt", b"A", "c.txt is of no supported kind."),
    ],
)
def test_bad_catalog_files(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchError) as caught:
        read_catalog(tmp_path / name)
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"none\.jsonl cannot be read: No such file"):
        read_ranking(tmp_path / "none.jsonl")
