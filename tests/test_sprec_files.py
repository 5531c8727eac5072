"""SPRec's file format: worked numbers, its own Goodreads, and a sentence for every mistake."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from sprec_layout import CASES, FILES, Axes, row, write

from bench.errors import BenchError
from bench.models.lm.encode.sentence_encoder import load_encoder
from bench.results.formats.sprec import SprecRow, read_sprec, read_sprec_folder, score_sprec

ENCODER = "all-minilm-l6-v2"
VECTOR_R = {
    "HR@1": 0.25, "HR@2": 0.5, "NDCG@1": 0.25, "NDCG@2": 0.407732,
    "DivRatio@1": 1.0, "DivRatio@2": 0.666667, "ORRatio@1": 1.0, "ORRatio@2": 0.833333,
    "GU[g1]@1": 0.083333, "GU[g2]@1": 0.25, "GU[g3]@1": 0.166667,
    "GU[g1]@2": 0.283333, "GU[g2]@2": 0.316667, "GU[g3]@2": 0.033333,
    "MGU@1": 0.166667, "MGU@2": 0.211111, "DGU@1": 0.416667, "DGU@2": 0.6, "Hallucination": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_vector_r(tmp_path: Path, packed: bool) -> None:
    folder = write(tmp_path / "items")
    listed = [
        row(history, target, f'"text {number}"', "never read")
        for number, (history, target, _) in enumerate(CASES)
    ]
    path = tmp_path / "generated.json"
    path.write_text(json.dumps(listed))
    if packed:
        for file in (path, *folder.iterdir()):
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
        path = path.with_name("generated.json.gz")
    metrics = score_sprec(read_sprec(path), read_sprec_folder(folder), Axes(), (2, 1))
    assert {name: metrics[name] for name in VECTOR_R} == pytest.approx(VECTOR_R, abs=1e-6)


def test_what_is_read_from_a_row(tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    listed = [
        row(["A", "B, the second", 'A "quoted" title'], ' It"', '"x', "y"),
        {**row(), "output": "plain ", "input": "nothing was quoted", "predict": [""]},
    ]
    path.write_text(json.dumps(listed))
    assert read_sprec(path) == (
        SprecRow(history=("A", "B, the second", "A ", " title"), target=" It", text='"x'),
        SprecRow(history=(), target="plain", text=""),
    )


def test_an_empty_text_stands_at_the_placeholder(tmp_path: Path) -> None:
    class Placeholder:
        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            known = {**dict(zip("ABCDE", range(5), strict=True)), "NAN": 3.2}
            return np.array([[known[text]] for text in texts], dtype=np.float32)

    rows = (SprecRow(history=("A",), target="D", text=""),)
    metrics = score_sprec(rows, read_sprec_folder(write(tmp_path)), Placeholder(), (1,))
    assert (metrics["HR@1"], metrics["Hallucination"]) == (1, 1)


# --- SPRec's own Goodreads ----------------------------------------------------------------------


@pytest.fixture
def goodreads(shared_data: Path) -> Path:
    folder = shared_data / "goodreads-sprec"
    if not folder.is_dir():
        pytest.skip("there is no goodreads-sprec/ among the real data")
    return folder


@pytest.fixture
def generated(goodreads: Path, tmp_path: Path) -> Path:
    """The first 50 test rows, answered by hand: a tenth hits, much is one of two favorites."""
    listed = json.loads(gzip.decompress((goodreads / "test_sample.json.gz").read_bytes()))[:50]
    for number, case in enumerate(listed):
        answers = (
            case["output"],
            '"Practice Makes Perfect',
            "The Locker Room\nor another",
            'Read "Practice Makes Perfect", then "Superhero"',
            re.findall('"(.*?)"', case["input"])[0],
        )
        case["predict"] = [answers[0 if number % 10 == 0 else 1 + number % 4]]
    path = tmp_path / "generated.json"
    path.write_text(json.dumps(listed))
    return path


def worked_out(generated: Path, goodreads: Path) -> dict[str, float]:
    """The metrics at 1 in plain loops over the files, for texts that are titles."""
    listed = json.loads(generated.read_text())
    genres = json.loads(gzip.decompress((goodreads / "name2genre.json.gz").read_bytes()))
    tracked = list(json.loads((goodreads / "genre_dict.json").read_text()))

    def mix(titles: list[str]) -> list[float]:
        mass = dict.fromkeys(tracked, 0.0)
        for title in titles:
            kept = [name for name in genres.get(title, []) if name in mass]
            for name in kept:
                mass[name] += 1 / len(kept)
        return [value / sum(mass.values()) for value in mass.values()]

    shown, hits, past = [], 0, []
    for number, case in enumerate(listed):
        past += re.findall('"([^"]*)"', case["input"])
        target = case["output"].strip().strip('"')
        first = case["input"].split('"')[1]
        favorites = ("Practice Makes Perfect", "The Locker Room", "Practice Makes Perfect", first)
        title = target if number % 10 == 0 else favorites[number % 4]
        assert target in genres
        shown.append(title)
        hits += title == target
    counts = Counter(shown)
    gaps = [now - before for now, before in zip(mix(shown), mix(past), strict=True)]
    return {
        "HR@1": hits / 50,
        "NDCG@1": hits / 50,
        "DivRatio@1": len(counts) / 50,
        "ORRatio@1": sum(count for _, count in counts.most_common(3)) / 50,
        "MGU@1": sum(map(abs, gaps)) / len(gaps),
        "DGU@1": max(gaps) - min(gaps),
        "Hallucination": 0.0,
        **{f"GU[{name}]@1": abs(gap) for name, gap in zip(tracked, gaps, strict=True)},
    }


class Numbered:
    """Every text is a point of its own on a line, so only a text that is a title meets one."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.arange(len(texts), dtype=np.float32)[:, np.newaxis]


def test_fifty_rows_of_goodreads(generated: Path, goodreads: Path) -> None:
    expected = worked_out(generated, goodreads)
    # Rows 0, 10, … hit. Of each four rows the first and the third name one favorite, the second
    # the other: 13 + 12 and 13 times, but 0, 20, 40 and 10, 30 are hits.
    assert expected["HR@1"] == 5 / 50
    assert expected["ORRatio@1"] == pytest.approx((20 + 13 + 1) / 50)
    metrics = score_sprec(read_sprec(generated), read_sprec_folder(goodreads), Numbered(), (1,))
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_the_command_on_goodreads(
    generated: Path, goodreads: Path, bench: Callable[..., SimpleNamespace]
) -> None:
    try:
        load_encoder(ENCODER, offline=False)
    except BenchError as error:
        pytest.skip(f"no encoder: {error.message}")
    done = bench(
        "score", str(generated), "--format", "sprec", "--catalog", str(goodreads), "--encoder",
        ENCODER, "--k", "1", "--k", "5", "--offline", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    metrics = json.loads(done.out)
    expected = worked_out(generated, goodreads)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert metrics["HR@1"] <= metrics["HR@5"] < 0.5
    assert metrics["DivRatio@5"] > 5 / 50


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{}", "g.json is not a JSON list."),
        ("[]", "g.json is empty."),
        ("[{]", "g.json is not JSON: Expecting property name"),
        ([row(), 3], "Item 2 of g.json is not an object."),
        ([row(), {"input": "x"}], "Item 2 of g.json has no 'instruction'."),
        (
            [{k: v for k, v in row().items() if k != "predict"}],
            "Item 1 of g.json has no 'predict'.",
        ),
        ([{**row(), "output": 7}], "Item 1 of g.json: 7 in 'output' is not text."),
        ([{**row(), "predict": "A"}], "Item 1 of g.json: 'A' in 'predict' is not a list."),
        ([{**row(), "predict": [None]}], "Item 1 of g.json: None in 'predict' is not text"),
        ([row(), {**row(), "predict": []}], "Item 2 of g.json has an empty list in 'predict'."),
    ],
)
def test_bad_generations(tmp_path: Path, content: object, sentence: str) -> None:
    path = tmp_path / "g.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(BenchError) as caught:
        read_sprec(path)
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id2name": ["A"]}, "id2name.json is not a JSON object."),
        ({"id2name": {}}, "id2name.json names no item."),
        ({"id2name": {"1": "A"}}, "id2name.json has 1 titles, but none with the id 0."),
        ({"id2name": {"0": 5}}, "id2name.json: the title of 0 is not text."),
        ({"id2name": {"0": "A", "1": "A"}}, "id2name.json: 0 and 1 have the same title, 'A'."),
        ({"name2genre": {"A": "g1"}}, "name2genre.json: the categories of 'A' are not a list of"),
        ({"genre_dict": {}}, "genre_dict.json names no category."),
    ],
)
def test_bad_folders(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(BenchError) as caught:
        read_sprec_folder(write(tmp_path, **changes))
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "name2genre.json").unlink()
    with pytest.raises(BenchError, match=r"^There is no name2genre\.json in "):
        read_sprec_folder(tmp_path)


def test_a_title_with_categories_and_no_id(tmp_path: Path) -> None:
    genres = {**FILES["name2genre.json"], "Z": ["g1"], "Y": ["other"]}
    folder = read_sprec_folder(write(tmp_path, name2genre=genres))
    assert folder.without_id == {"Z"}
    good = SprecRow(history=("A", "Y"), target="B", text='"A"')
    score_sprec([good], folder, Axes(), (1,))
    bad = SprecRow(history=("A", "Z"), target="B", text='"A"')
    with pytest.raises(BenchError, match=r"^Row 2: 'Z' in the history has categories"):
        score_sprec([good, bad], folder, Axes(), (1,))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--format", "sprec"), "--format sprec needs the items."),
        (("--format", "sprec", "--catalog", "items"), "--format sprec needs a sentence encoder."),
        (
            ("--format", "sprec", "--category", "g1"),
            "--category cannot be used with --format sprec.",
        ),
        (("--encoder", ENCODER), "--encoder and --data-dir cannot be used with --format ranking."),
        (
            ("--format", "sprec", "--catalog", "items", "--encoder", "all-minilm-l6-v3"),
            f"Did you mean '{ENCODER}'?",
        ),
        (
            ("--format", "sprec", "--catalog", "items", "--encoder", ENCODER, "--k", "6"),
            "the nearest 6 of 5 items.",
        ),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bench: Callable[..., SimpleNamespace],
    words: tuple[str, ...],
    sentence: str,
) -> None:
    write(tmp_path / "items")
    (tmp_path / "g.json").write_text(json.dumps([row()]))
    if "--k" in words:
        monkeypatch.setattr(
            "bench.models.lm.encode.sentence_encoder.load_encoder", lambda *_, **__: Axes()
        )
    done = bench("score", "g.json", *words)
    assert done.code == 2
    assert sentence in done.err
    assert done.out == ""
