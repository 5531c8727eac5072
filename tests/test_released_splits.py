"""Ready samples of other projects, form by form, and what becomes of odd rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_files import damaged_file
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config import plugins
from bench.config.cards import DatasetCard, Nouns
from bench.data import prepared
from bench.data.prepare import prepare
from bench.data.prepared import SPLITS, Prepared
from bench.data.released_splits import RELEASED_SPLITS, read_samples
from bench.data.released_splits.sprec import parse_quoted_titles
from bench.data.verification import verify
from bench.errors import BenchError
from bench.results.formats.prepared_data import export_data

TITLES = {
    "0": "Dune",
    "1": 'A Child Called "It" (Dave Pelzer #1)',
    "2": "Salt, Fat",
    "3": 'Dune", "Salt, Fat',
    "4": "It",
}
GENRES = {"Dune": ["fiction"], "It": ["fiction", "horror"], "Salt, Fat": []}


def card(reader: str = "sprec-samples", **settings: Any) -> DatasetCard:
    texts = dict.fromkeys(("title", "description", "license", "citation"), "Toy")
    return DatasetCard(reader=reader, **texts, **settings)


def sample(history: list[str], target: str) -> dict[str, str]:
    titles = ", ".join(f'"{title}"' for title in history)
    return {
        "instruction": "Recommend.",
        "input": f"The user has read: {titles}, please write a new one",
        "output": f'"{target}"\n',
    }


def sprec_contents() -> dict[str, Any]:
    return {
        "train": [sample(["Salt, Fat", "Dune"], "It"), sample([TITLES["1"]], "Dune")],
        "valid": [sample(["It", "It", TITLES["1"]], "Salt, Fat")],
        "test": [sample(["Salt, Fat"], TITLES["1"])],
        "items": TITLES,
        "genres": GENRES,
        "tracked": {"horror": 0, "fiction": 0},
    }


def write_files(folder: Path, contents: Mapping[str, Any]) -> dict[str, Path]:
    paths = {role: folder / f"{role}.json" for role in contents}
    for role, content in contents.items():
        whole = content if isinstance(content, bytes) else json.dumps(content).encode()
        paths[role].write_bytes(whole)
    return paths


def sprec(folder: Path, changes: Mapping[str, Any] | None = None) -> Prepared:
    return prepare(card(), write_files(folder, {**sprec_contents(), **(changes or {})}))


def list_samples(data: Prepared) -> list[tuple[list[str], str]]:
    windows = data.windows(np.arange(len(data.target)))
    titles = data.catalog.titles
    return [
        ([titles[item] for item in history if item >= 0], titles[target])
        for history, target in zip(windows.histories, windows.targets, strict=True)
    ]


def check_samples(data: Prepared, reader: str) -> None:
    """Check what must hold of any samples that were read."""
    findings = verify(data, card(reader))
    # What a table says of times is its own affair; a split may begin before the one before it.
    assert "fails" not in {f.verdict for f in findings if "later split" not in f.check}
    catalog = data.catalog
    for text in (*data.user_ids, *catalog.ids, *catalog.titles, *catalog.tracked):
        text.encode("utf-8")
    assert len(set(data.user_ids)) == len(data.user_ids)


def refusal(folder: Path, changes: Mapping[str, Any]) -> BenchError:
    with pytest.raises(BenchError) as caught:
        sprec(folder, changes)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


# --- SPRec's form -------------------------------------------------------------------------------


def test_samples_are_read_as_they_are(tmp_path: Path) -> None:
    data = sprec(tmp_path)
    assert list_samples(data) == [
        (["Salt, Fat", "Dune"], "It"),
        ([TITLES["1"]], "Dune"),
        (["It", "It", TITLES["1"]], "Salt, Fat"),
        (["Salt, Fat"], TITLES["1"]),
    ]
    assert [data.num(split) for split in SPLITS] == [2, 1, 1]
    assert data.catalog.ids == tuple(TITLES)
    assert data.catalog.categories == (("fiction",), (), (), (), ("fiction", "horror"))
    assert data.catalog.tracked == ("horror", "fiction")
    assert data.history == 3
    assert np.isnan(data.ratings).all()


def test_every_row_is_a_user_of_its_own_and_the_notes_say_so(tmp_path: Path) -> None:
    data = sprec(tmp_path)
    assert data.user_ids == ("train 1", "train 2", "valid 1", "test 1")
    assert (data.counts["users"], data.counts["interactions"]) == (4, 3 + 2 + 4 + 2)
    notes = " ".join(data.notes)
    for words in ("name no users", "have no times", "splits are the files' own"):
        assert words in notes
    assert "fails" not in {finding.verdict for finding in verify(data, card())}


def test_prepared_samples_survive_the_store(tmp_path: Path) -> None:
    data, folder = sprec(tmp_path), tmp_path / "stored"
    folder.mkdir()
    prepared.write(data, folder)
    assert prepared.read(folder).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ('read: "Dune", "It", please', [0, 4]),
        ('read: "A Child Called "It" (Dave Pelzer #1)", "It".', [1, 4]),
        # The longest match: one title with quotes and a comma, not two titles.
        ('read: "Dune", "Salt, Fat".', [3]),
        ('read: "Salt, Fat", "Dune".', [2, 0]),
        ('read: "Dune", "Nobody\'s", "It".', [0, None]),
        ('read: "".', [None]),
        ("read: nothing", []),
        ('read: 5" of rain', []),
    ],
)
def test_titles_end_where_the_catalog_knows_them(prompt: str, expected: list[int | None]) -> None:
    assert parse_quoted_titles(
        prompt, {title: number for number, title in enumerate(TITLES.values())}
    ) == (expected)


@given(st.lists(st.sampled_from(['"', ", ", 'x "y', 'a", "b', "It"]), min_size=1, max_size=6))
def test_quoted_titles_come_back(history: list[str]) -> None:
    """Whichever titles there are, what is found writes the same prompt."""
    titles = ['"', ", ", 'x "y', 'a", "b', "It"]
    prompt = "read: " + ", ".join(f'"{title}"' for title in history) + " end"
    actual = parse_quoted_titles(prompt, {title: number for number, title in enumerate(titles)})
    if None not in actual:
        again = ", ".join(f'"{titles[item]}"' for item in actual if item is not None)
        assert f"read: {again} end" == prompt


def test_rows_with_unknown_titles_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [
        sample(["Dune", "Missing"], "It"),
        sample(["Dune"], "Missing"),
        {**sample(["Dune"], "It"), "input": "The user has read nothing"},
        sample(["It"], "Dune"),
    ]
    data = sprec(tmp_path, {"train": rows})
    assert list_samples(data)[0] == (["It"], "Dune")
    assert data.user_ids[0] == "train 4"
    assert (data.counts["lines"], data.counts["train"]) == (6, 1)
    assert {name: num for name, num in data.counts.items() if name.startswith("rejected")} == {
        "rejected: row with an unknown item in its history": 1,
        "rejected: row with an unknown target": 1,
        "rejected: row without a history": 1,
    }
    assert any(note.startswith("3 of the files' 6 rows") for note in data.notes)


def test_titles_lose_line_breaks_after_the_rows_were_matched(tmp_path: Path) -> None:
    changes = {
        "items": {"7": "Two\nlines", "8": " ", "9": "Dune"},
        "train": [sample(["Two\nlines"], "Dune")],
        "valid": [sample([" "], "Dune")],
        "test": [sample(["Dune"], "Two\nlines")],
    }
    data = sprec(tmp_path, changes)
    assert list_samples(data) == [(["Two lines"], "Dune"), (["Dune"], "Two lines")]
    assert data.counts["titles cleaned"] == 1
    assert data.counts["rejected: item without a title"] == 1


def test_categories_are_chosen_where_no_file_names_them(tmp_path: Path) -> None:
    contents = sprec_contents()
    del contents["tracked"]
    choice = {"top": 1, "drop": ["unkown"]}
    data = prepare(card(categories=choice), write_files(tmp_path, contents))
    assert data.catalog.tracked == ("fiction",)
    assert any("'unkown', which no item has" in note for note in data.notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": json.dumps(sprec_contents()["train"]).encode()[:-30]}, "Line 1 of train.json"),
        ({"train": {"0": "x"}}, "no JSON list"),
        ({"train": ["x"]}, "Sample 1 of train.json has no text 'input'"),
        ({"valid": [{**sample(["It"], "It"), "output": 5}]}, "no text 'output'"),
        ({"items": ["Dune"]}, "items.json is no JSON object"),
        ({"items": {"0": 5}}, "title of '0' in items.json is no text"),
        ({"genres": []}, "genres.json is no JSON object"),
        ({"test": b"[" * 100_000}, "lists too deep"),
        ({"test": b"[" + b"9" * 5000 + b"]"}, "number too long"),
        ({"test": gzip.compress(b"[]", mtime=0)[:-9]}, "truncated or damaged"),
        ({"items": {"0": "Other"}}, "has no sample: all 4 rows were rejected"),
    ],
)
def test_files_that_are_not_as_they_should_be(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in refusal(tmp_path, changes).message


# --- cards --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"titles": {"profile": "clean"}},
        {"filters": {"min_user_interactions": 5}},
        {"split": {"min_history": 5}},
    ],
)
@pytest.mark.parametrize("reader", sorted(RELEASED_SPLITS))
def test_a_preparation_of_ready_samples_is_refused(
    tmp_path: Path, reader: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(BenchError, match=rf"\[{next(iter(settings))}\] in the card") as caught:
        prepare(card(reader, **settings), write_files(tmp_path, sprec_contents()))
    assert caught.value.hint


def test_tracked_categories_have_one_place(tmp_path: Path) -> None:
    paths = write_files(tmp_path, sprec_contents())
    with pytest.raises(BenchError, match="'tracked'"):
        prepare(card(categories={"top": 3}), paths)
    del paths["genres"]
    with pytest.raises(BenchError, match="'tracked'"):
        prepare(card(), paths)
    with pytest.raises(BenchError, match="format"):
        prepare(card(fields={"format": "new"}), paths)
    with pytest.raises(BenchError, match="reader of ready samples"):
        read_samples(card("recbole"), paths)


# --- D3's form ----------------------------------------------------------------------------------

HEADER = ["user_id", "history_item_id", "item_id", "history_timestamp", "timestamp"]


def table(*rows: list[Any], header: list[str] = HEADER) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()


def d3_contents() -> dict[str, Any]:
    return {
        "train": table(
            ["a", [10], 20, [1], 2],
            ["b", [20], 10, [2], 3],
            ["a", [10, 20], 30, [1, 2], 4],
        ),
        "valid": table(["a", [20, 30], 30, [2, 4], 5]),
        "test": table(["b", [20, 10], 20, [2, 3], 9]),
        "items": b"Ten\t10\nTwenty\t20\nA\ttab\t30\n",
    }


def d3(folder: Path, changes: Mapping[str, Any] | None = None) -> Prepared:
    return prepare(card("d3-samples"), write_files(folder, {**d3_contents(), **(changes or {})}))


def test_windows_of_a_user_become_one_sequence(tmp_path: Path) -> None:
    data = d3(tmp_path)
    assert data.user_ids == ("a", "b")
    assert data.items.tolist() == [0, 1, 2, 2, 1, 0, 1]
    assert data.times.tolist() == [1, 2, 4, 5, 2, 3, 9]
    assert list_samples(data)[2:] == [
        (["Ten", "Twenty"], "A tab"),
        (["Twenty", "A tab"], "A tab"),
        (["Twenty", "Ten"], "Twenty"),
    ]
    assert data.counts["sequences restarted"] == 0
    assert data.catalog.ids == ("10", "20", "30")
    assert "fails" not in {finding.verdict for finding in verify(data, card("d3-samples"))}


def test_a_row_that_continues_nothing_begins_anew(tmp_path: Path) -> None:
    """As where a part of the rows was drawn: the one between them is missing."""
    rows = table(["b", [30], 20, [5], 9])
    data = d3(tmp_path, {"test": rows})
    assert data.user_ids == ("a", "b", "b (2)")
    assert list_samples(data)[-1] == (["A tab"], "Twenty")
    assert data.counts["sequences restarted"] == 1
    assert any("starts another sequence" in note for note in data.notes)


def test_the_same_items_at_other_times_continue_nothing(tmp_path: Path) -> None:
    data = d3(tmp_path, {"test": table(["b", [20, 10], 20, [2, 4], 9])})
    assert data.counts["sequences restarted"] == 1


def test_rows_without_users_and_times(tmp_path: Path) -> None:
    row = table([[10], 20], header=["history_item_id", "item_id"])
    data = d3(tmp_path, dict.fromkeys(SPLITS, row))
    assert data.user_ids == ("train 1", "valid 1", "test 1")
    assert data.times.tolist() == list(range(6))
    assert sum("no users" in note or "no times" in note for note in data.notes) == 2


def test_odd_rows_are_counted(tmp_path: Path) -> None:
    rows = table(["a", [10], 99, [1], 2], ["a", [99], 10, [1], 2], ["a", [10], 20, [3], 2])
    data = d3(tmp_path, {"test": rows, "items": d3_contents()["items"] + b" \t40\nTen\t10\n"})
    assert data.num("test") == 0
    names = {name.removeprefix("rejected: ") for name in data.counts if "rejected" in name}
    assert names == {
        "row with an unknown item in its history",
        "row with an unknown target",
        "row whose times fall",
        "item without a title",
        "repeated item",
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": b"user_id,item_id\n"}, "exactly one column 'history_item_id'"),
        ({"train": table(["a", [10], 20, [1]])}, "has 4 cells, not 5"),
        ({"train": table(["a", [10], 20, [1], "x"])}, "is no number"),
        ({"train": table(["a", "10", 20, [1], 2])}, "history_item_id is no list"),
        ({"train": table(["a", [10], 20, [1, 1], 2])}, "2 items, but 3"),
        ({"train": table(["a", [10], 20, ["x"], 2])}, "history_timestamp is no list"),
        ({"train": b'"history_item_id","item_id"\n"[1]"x,2\n'}, "is not CSV"),
        ({"train": b'history_item_id,item_id\n"[1]'}, "is not CSV"),
        ({"test": table([[10], 20], header=["history_item_id", "item_id"])}, "other columns"),
        ({"items": b"no tab\n"}, "Line 1 of items.json is not `title TAB id`"),
    ],
)
def test_tables_that_are_not_as_they_should_be(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BenchError) as caught:
        d3(tmp_path, changes)
    assert words in caught.value.message
    assert caught.value.hint


# --- BIGRec's form ------------------------------------------------------------------------------


def bigrec_contents() -> dict[str, Any]:
    header = ["user_id", "item_ids", "timestamp"]
    return {
        "train": table(
            ["a", [10, 20], 5], ["b", [20, 10], 5], ["a", [10, 20, 30], 7], header=header
        ),
        "test": table(["a", [20, 30, 30], 9], ["b", [30, 10], 9], header=header),
        "items": {"10": "Ten", "20": " Twenty ", "30": "A &amp; tab"},
    }


def bigrec(folder: Path, changes: Mapping[str, Any] | None = None) -> Prepared:
    changed = {**bigrec_contents(), **(changes or {})}
    return prepare(card("bigrec-samples"), write_files(folder, changed))


def test_bigrecs_windows_become_sequences_with_the_targets_times(tmp_path: Path) -> None:
    data = bigrec(tmp_path)
    assert list_samples(data) == [
        (["Ten"], "Twenty"),
        (["Twenty"], "Ten"),
        (["Ten", "Twenty"], "A &amp; tab"),
        (["Twenty", "A &amp; tab"], "A &amp; tab"),
        (["A &amp; tab"], "Ten"),
    ]
    # b's test row continues nothing, so it begins a sequence; a's history begins at its target's 5.
    assert data.user_ids == ("a", "b", "b (2)")
    assert data.times.tolist() == [5, 5, 7, 9, 5, 5, 9, 9]
    assert [data.num(split) for split in SPLITS] == [3, 0, 2]
    notes = " ".join(data.notes)
    for words in ("no validation rows", "times of targets only", "1 rows do not continue"):
        assert words in notes
    assert "fails" not in {finding.verdict for finding in verify(data, card("bigrec-samples"))}


def test_a_row_before_its_users_latest_continues_nothing(tmp_path: Path) -> None:
    rows = table(["a", [20, 30, 30], 6], header=["user_id", "item_ids", "timestamp"])
    data = bigrec(tmp_path, {"test": rows})
    assert data.counts["sequences restarted"] == 1


def test_both_forms_of_a_catalog_are_the_same_one(tmp_path: Path) -> None:
    lines = b"Ten\t10\n Twenty \t20\nA &amp; tab\t30\n"
    data = bigrec(tmp_path, {"items": lines, "valid": bigrec_contents()["test"]})
    assert data.catalog == bigrec(tmp_path).catalog
    assert [data.num(split) for split in SPLITS] == [3, 2, 2]
    # BIGRec's texts with its lines: the blank before a title is part of what stands in quotes.
    texts = {
        **{split: [sample([" Twenty "], "Ten")] for split in SPLITS},
        "items": lines,
    }
    assert list_samples(prepare(card(), write_files(tmp_path, texts))) == [(["Twenty"], "Ten")] * 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": b"user_id,item_ids\n"}, "exactly one column 'timestamp'"),
        ({"test": b'user_id,item_ids,timestamp\na,"[1, 2",5\n'}, "item_ids is no list"),
        ({"test": b"user_id,item_ids,timestamp\na,[],5\n"}, "neither a history nor a target"),
        ({"test": b"user_id,item_ids,timestamp\na,[10],x\n"}, "time 'x' is no number"),
        ({"items": []}, "no JSON object"),
    ],
)
def test_bigrec_tables_that_are_not_as_they_should_be(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BenchError) as caught:
        bigrec(tmp_path, changes)
    assert words in caught.value.message
    assert caught.value.hint


# --- Flower's table of all splits ----------------------------------------------------------------


def windows_contents() -> dict[str, Any]:
    """The samples of `d3_contents`, in the other form."""
    rows = [
        ["train", "a", "10", 20],
        ["train", "b", "20", 10],
        ["train", "a", "10 20", 30],
        ["valid", "a", "20 30", 30],
        ["test", "b", "20 10", 20],
    ]
    header = ["split", "seq_id", "history_item_id", "item_id"]
    return {"windows": table(*rows, header=header), "items": d3_contents()["items"]}


def d3_windows(folder: Path, changes: Mapping[str, Any] | None = None) -> Prepared:
    changed = {**windows_contents(), **(changes or {})}
    return prepare(card("d3-windows"), write_files(folder, changed))


def test_one_table_of_all_splits_gives_the_same_windows(tmp_path: Path) -> None:
    data, expected = d3_windows(tmp_path), d3(tmp_path)
    same_windows(data, expected)
    assert data.user_ids == expected.user_ids
    assert np.array_equal(data.items, expected.items)
    # The number of the row stands for the time: the splits stay apart in time.
    assert data.times[data.target].tolist() == [0, 1, 2, 3, 4]
    assert "fails" not in {finding.verdict for finding in verify(data, card("d3-windows"))}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("train,a,10,20", "'train' is out of the order"),
        ("tset,a,10,20", "'tset' is no split"),
        ("test,a,10", "has 3 cells, not 4"),
    ],
)
def test_splits_stand_in_order(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(BenchError, match=words):
        d3_windows(tmp_path, {"windows": windows_contents()["windows"] + row.encode() + b"\n"})


# --- S-DPO's form -------------------------------------------------------------------------------


def sdpo_sample(history: str, candidates: list[str], target: str) -> dict[str, Any]:
    return {"historyList": history, "itemList": candidates, "trueSelection": target}


def sdpo_contents() -> dict[str, Any]:
    return {
        "train": [sdpo_sample("A::B", ["C", "D"], "D")],
        "valid": [sdpo_sample("D::A::A", ["B", "Ke$ha"], "B")],
        "test": [sdpo_sample("Ke$ha", ["A", "D"], "A")],
    }


def sdpo(folder: Path, changes: Mapping[str, Any] | None = None) -> Prepared:
    return prepare(
        card("sdpo-samples"), write_files(folder, {**sdpo_contents(), **(changes or {})})
    )


def test_candidates_are_items_in_order_of_appearance(tmp_path: Path) -> None:
    data = sdpo(tmp_path)
    assert data.catalog.titles == ("A", "B", "C", "D", "Ke$ha")
    assert list_samples(data) == [(["A", "B"], "D"), (["D", "A", "A"], "B"), (["Ke$ha"], "A")]
    assert any("candidates are not used" in note for note in data.notes)


def test_samples_without_a_training_file_are_read_and_say_so(tmp_path: Path) -> None:
    contents = sdpo_contents()
    del contents["train"]
    data = prepare(card("sdpo-samples"), write_files(tmp_path, contents))
    assert [data.num(split) for split in SPLITS] == [0, 1, 1]
    assert any("no training rows" in note for note in data.notes)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (sdpo_sample("A", ["B"], "C"), "the target 'C' is not among"),
        ({"historyList": "A"}, "has no texts"),
        (sdpo_sample("A", "B", "B"), "has no list of texts 'itemList'"),  # type: ignore[arg-type]
        ("A", "has no texts"),
    ],
)
def test_sdpo_rows_that_are_not_as_they_should_be(
    tmp_path: Path, wrong: object, words: str
) -> None:
    with pytest.raises(BenchError, match=rf"Sample 1 of test.json.* {words}"):
        sdpo(tmp_path, {"test": [wrong]})


CONTENTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "bigrec-samples": bigrec_contents,
    "d3-samples": d3_contents,
    "d3-windows": windows_contents,
    "sdpo-samples": sdpo_contents,
    "sprec-samples": sprec_contents,
}


def test_every_form_is_spoilt() -> None:
    assert set(CONTENTS) == set(RELEASED_SPLITS)


@settings(max_examples=100)
@given(st.data())
@pytest.mark.parametrize("reader", sorted(CONTENTS))
def test_damaged_files_are_read_soundly_or_refused(reader: str, data: st.DataObject) -> None:
    contents = {
        role: content if isinstance(content, bytes) else json.dumps(content).encode()
        for role, content in CONTENTS[reader]().items()
    }
    role = data.draw(st.sampled_from(sorted(contents)))
    contents[role] = data.draw(damaged_file(contents[role]))
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder), contents)
        actual, refused = None, None
        try:
            actual = prepare(card(reader), paths)
        except BenchError as error:
            refused = error
    if actual is None:
        assert refused is not None
        assert refused.hint
        assert "\n" not in refused.message
        return
    check_samples(actual, reader)


# --- our own exports and real files -------------------------------------------------------------


@pytest.fixture(scope="module")
def synthetic() -> Prepared:
    return prepare(plugins.dataset_card("synthetic"), {})


def same_windows(actual: Prepared, expected: Prepared) -> None:
    everything = np.arange(len(expected.target))
    actual_windows, expected_windows = actual.windows(everything), expected.windows(everything)
    assert actual.catalog.titles == expected.catalog.titles
    assert np.array_equal(actual_windows.histories, expected_windows.histories)
    assert np.array_equal(actual_windows.targets, expected_windows.targets)
    assert actual.boundaries == expected.boundaries


def test_our_sprec_export_reads_back(synthetic: Prepared, tmp_path: Path) -> None:
    files = export_data(synthetic, "sprec", tmp_path, name="own", nouns=Nouns())
    by_name = {path.name.removeprefix("own."): path for path in files}
    roles = {"items": "id2name", "genres": "name2genre", "tracked": "genre_dict"}
    roles |= {split: split for split in SPLITS}
    actual = prepare(card(), {role: by_name[f"{name}.json"] for role, name in roles.items()})
    same_windows(actual, synthetic)
    assert actual.catalog.tracked == synthetic.catalog.tracked


def test_our_d3_export_reads_back(synthetic: Prepared, tmp_path: Path) -> None:
    export_data(synthetic, "d3", tmp_path, name="own", nouns=Nouns())
    paths = {split: tmp_path / f"own.{split}.csv" for split in SPLITS}
    same_windows(
        prepare(card("d3-samples"), {**paths, "items": tmp_path / "own.info.txt"}), synthetic
    )


def test_d3s_golden_samples_are_our_own_preparation(shared_data: Path) -> None:
    start = str(shared_data / "golden" / "d3" / "Gift_Cards_5_1996-10-2018-11.")
    paths = {split: Path(f"{start}{split}.csv.gz") for split in SPLITS}
    actual = prepare(card("d3-samples"), {**paths, "items": Path(f"{start}info.txt.gz")})
    folder = shared_data / "amazon-2018"
    expected = prepare(
        plugins.dataset_card("amazon-2018-gift-cards"),
        {
            "items": folder / "meta_Gift_Cards.json.gz",
            "interactions": folder / "Gift_Cards_5.json.gz",
        },
    )
    same_windows(actual, expected)
    users = [data.users[data.target] for data in (actual, expected)]
    assert [actual.user_ids[user] for user in users[0]] == [
        expected.user_ids[user] for user in users[1]
    ]
    for name in ("users", "items", "interactions", *SPLITS):
        assert actual.counts[name] == expected.counts[name]
    assert np.array_equal(actual.ratings[actual.target], expected.ratings[expected.target])
    assert np.array_equal(actual.times[actual.target], expected.times[expected.target])


def test_sprecs_goodreads(shared_data: Path) -> None:
    """README of the real data: rows whose prompt shows ten titles, known or not."""
    folder = shared_data / "goodreads-sprec"
    if not folder.is_dir():
        pytest.skip("no goodreads-sprec in the folder of real data")
    samples = {"train": "train", "valid": "valid_sample", "test": "test_sample"}
    expected = {"train": (4999, 5000), "valid": (255, 256), "test": (997, 1000)}
    for split, (whole, num) in expected.items():
        rows = json.loads(gzip.decompress((folder / f"{samples[split]}.json.gz").read_bytes()))
        assert len(rows) == num
        assert sum(row["input"].count('", "') == 9 for row in rows) == whole
    names = {"items": "id2name", "genres": "name2genre", **samples}
    paths = {role: folder / f"{name}.json.gz" for role, name in names.items()}
    paths["tracked"] = folder / "genre_dict.json"
    data = prepare(plugins.dataset_card("goodreads-sprec"), paths)
    lengths = [
        np.bincount((data.windows(data.sample_range(split)).histories >= 0).sum(axis=1))
        for split in SPLITS
    ]
    assert [int(split[10]) for split in lengths] == [4989, 253, 987]
    assert [int(split.sum()) for split in lengths] == [4990, 254, 990]
    assert len(data.catalog.tracked) == 7
    assert sum(not names for names in data.catalog.categories) == 14
    (dave,) = (i for i, title in enumerate(data.catalog.titles) if '"' in title)
    assert dave in data.items
