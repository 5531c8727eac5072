"""Preference pairs: draws of items, and which texts of which rows become rejected responses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from stage_runs import run_stage

from bench.data import prepared
from bench.data.assets import encoder_checksums
from bench.data.catalog import Catalog
from bench.data.negatives import (
    choose_random_rows,
    number_titles,
    sample_negatives,
    select_similar,
)
from bench.data.ranking import Ranking
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.models.lm.generated_texts import write_texts
from bench.models.seqrec.checkpoint import load_scorer, save
from bench.models.seqrec.networks import SASRec
from bench.plan.item_stages import SASRecConfig
from bench.plan.language_stages import EmbedConfig
from bench.plan.preference_stages import PairConfig
from bench.results.ranking_file import write_ranking
from bench.stages.pairs import first_quoted

TITLES = (
    "Emma",
    "Ivanhoe",
    'The "Moonstone"',
    "Emma",
    "Dracula",
    "Silas Marner",
    "Walden",
    "Utopia",
)
NUM_ITEMS, HISTORY, NUM_ROWS = len(TITLES), 3, 64
few = settings(max_examples=25)


ENCODER = {"encoder": "trigrams", "encoder_checksums": encoder_checksums("trigrams")}


def windows(histories: Sequence[Sequence[int]], targets: Sequence[int]) -> Windows:
    return Windows(
        users=np.zeros(len(targets), dtype=np.int32),
        histories=np.array(histories, dtype=np.int32),
        targets=np.array(targets, dtype=np.int32),
    )


# --- draws ---------------------------------------------------------------------------------------


@few
@given(st.data(), st.integers(1, 3), st.integers(0, 99))
def test_no_drawn_item_was_seen(data, num: int, seed: int) -> None:
    items = st.integers(-1, NUM_ITEMS - 1)
    row = st.tuples(st.lists(items, min_size=HISTORY, max_size=HISTORY), items)
    histories, targets = zip(*data.draw(st.lists(row, min_size=1, max_size=5)), strict=True)
    rows = windows(histories, targets)
    weights = np.arange(1, NUM_ITEMS + 1)
    vectors = np.random.default_rng(seed).normal(size=(NUM_ITEMS, 4))
    for found in (
        sample_negatives(rows, weights, TITLES, num, np.random.default_rng(seed)),
        select_similar(rows, vectors, TITLES, num),
    ):
        assert found.shape == (len(rows), num)
        for items_K, history, target in zip(found, histories, targets, strict=True):
            titles = {TITLES[item] for item in items_K}
            assert len(titles) == num
            assert not titles & {TITLES[item] for item in [*history, target] if item >= 0}


@pytest.mark.parametrize("weights", [[1] * NUM_ITEMS, [5, 1, 3, 2, 0, 8, 4, 1]])
def test_draws_are_in_proportion_to_the_weights(weights: list[int]) -> None:
    num = 20_000
    rows = windows([[1, 6, -1]] * num, [5] * num)
    found = np.bincount(
        sample_negatives(rows, np.array(weights), TITLES, 1, np.random.default_rng(0))[:, 0],
        minlength=NUM_ITEMS,
    )
    left = np.array(weights, dtype=float)
    left[[1, 5, 6]] = 0
    assert (found[left == 0] == 0).all()
    kept = left > 0
    assert chisquare(found[kept], left[kept] / left.sum() * num).pvalue > 1e-3


def test_several_draws_are_without_replacement() -> None:
    """Second places of two draws from weights 3, 2, 1: the chance of each pair is known."""
    num = 20_000
    rows = windows([[0]] * num, [0] * num)
    found = sample_negatives(rows, np.array([9, 3, 2, 1]), "abcd", 2, np.random.default_rng(1))
    orders = {
        (1, 2): 1 / 3,
        (1, 3): 1 / 6,
        (2, 1): 1 / 4,
        (2, 3): 1 / 12,
        (3, 1): 0.1,
        (3, 2): 1 / 15,
    }
    counts = [int((found == order).all(1).sum()) for order in orders]
    assert chisquare(counts, np.array(list(orders.values())) * num).pvalue > 1e-3


def test_a_row_draws_the_same_whatever_the_others_are() -> None:
    weights = np.ones(NUM_ITEMS)
    one, other = (
        windows([[1, -1, -1]] * 4, [5] * 4),
        windows([[2, 3, 4]] * 3 + [[1, -1, -1]], [5] * 4),
    )
    found = [
        sample_negatives(rows, weights, TITLES, 2, np.random.default_rng(7))
        for rows in (one, other)
    ]
    assert (found[0][3] == found[1][3]).all()


def test_items_of_one_title_are_one() -> None:
    assert number_titles(['a "b"', "c", "a 'b'", "c "]).tolist() == [0, 1, 0, 1]
    rows = windows([[0, -1, -1]], [4])  # the other Emma is out, too
    found = {
        int(sample_negatives(rows, np.ones(NUM_ITEMS), TITLES, 1, np.random.default_rng(s))[0, 0])
        for s in range(200)
    }
    assert found == {1, 2, 5, 6, 7}


def test_a_catalog_may_be_too_small() -> None:
    rows = windows([[0, 1, 2]], [4])
    assert sorted(sample_negatives(rows, np.ones(8), TITLES, 3, np.random.default_rng(0))[0]) == [
        5,
        6,
        7,
    ]
    with pytest.raises(BenchError, match="fewer than 4 titles"):
        sample_negatives(rows, np.ones(8), TITLES, 4, np.random.default_rng(0))
    with pytest.raises(BenchError, match="fewer than 4 titles"):
        select_similar(rows, np.ones((8, 2)), TITLES, 4)


def test_the_nearest_unseen_item() -> None:
    """Directions of 0, 90, 10, 0, 60, 45, 30 and 200 degrees; lengths do not matter."""
    angles = np.deg2rad([0, 90, 10, 0, 60, 45, 30, 200])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    far = vectors * np.array([1, 1, 1, 1, 1, 50, 0.01, 9])[:, None]
    rows = windows([[0, 1, -1], [0, -1, -1]], [5, 2])
    assert select_similar(rows, vectors, TITLES, 3).tolist() == [[4, 6, 2], [6, 5, 4]]
    assert select_similar(rows, far, TITLES, 3).tolist() == [[4, 6, 2], [6, 5, 4]]


@few
@given(st.integers(0, 50), st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))
def test_shares_nest(num: int, one: float, other: float, seed: int) -> None:
    small, large = (
        choose_random_rows(num, share, np.random.default_rng(seed))
        for share in sorted([one, other])
    )
    assert not (small & ~large).any()
    assert large.sum() == round(max(one, other) * num)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('"Emma"', "Emma"),
        ('I say "Emma"\n or "Ivanhoe"', "Emma"),
        ('"Emma', None),
        ("Emma", None),
        ("", None),
        ('""', None),
        ('" "', None),
        ('"Em\n ma"', "Em ma"),
    ],
)
def test_the_first_complete_quoted_string(text: str, title: str | None) -> None:
    assert first_quoted(text) == title


# --- the stage -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pairs")
    found = {name: root / name for name in ("data", "rows", "vectors", "oracle")}
    for folder in found.values():
        folder.mkdir()
    numbers = np.random.default_rng(0)
    num = NUM_ROWS + HISTORY
    # Users of their own for each row, none of which has seen "Emma" or the last two items.
    items = numbers.choice([1, 2, 4, 5], size=(num, HISTORY + 1), p=[0.6, 0.2, 0.1, 0.1])
    data = prepared.Prepared(
        catalog=Catalog(
            ids=tuple(map(str, range(NUM_ITEMS))), titles=TITLES, categories=((),) * NUM_ITEMS
        ),
        user_ids=tuple(map(str, range(num))),
        users=np.repeat(np.arange(num), HISTORY + 1).astype(np.int32),
        items=items.reshape(-1).astype(np.int32),
        ratings=np.ones(items.size, dtype=np.float32),
        times=np.arange(items.size, dtype=np.int64),
        start=np.arange(num) * (HISTORY + 1),
        target=np.arange(num) * (HISTORY + 1) + HISTORY,
        boundaries=(NUM_ROWS, NUM_ROWS + 1),
        history=HISTORY,
    )
    prepared.write(data, found["data"])
    prepared.write_rows(numbers.permutation(NUM_ROWS), found["rows"])
    run_stage("embed", EmbedConfig, found["vectors"], **ENCODER, data=found["data"])
    sasrec = SASRec(SASRecConfig(hidden_size=8), num_items=NUM_ITEMS, max_length=HISTORY)
    save(sasrec, found["oracle"])
    return found


def staged(folders: dict[str, Path], out: Path, **changes) -> tuple[dict, dict]:
    inputs = {name: folders[name] for name in ("data", "rows")}
    job = run_stage("pairs", PairConfig, out, **{"max_pairs": 16, "seed": 3, **inputs, **changes})
    return pq.read_table(out / "pairs.parquet").to_pydict(), dict(job.metadata)


def grounding(folders: dict[str, Path]) -> dict:
    return {**ENCODER, "vectors": folders["vectors"]}


def generated(folder: Path, texts: Sequence[Sequence[str]]) -> Path:
    folder.mkdir()
    kept = tuple(map(tuple, texts))
    write_texts(kept, [[0.0] * len(row) for row in kept], folder)
    return folder


def of_rows(folders: dict[str, Path]) -> tuple[list[int], list[str]]:
    rows = prepared.load_rows(folders["rows"])
    targets = prepared.read(folders["data"]).windows(rows).targets
    return rows.tolist(), [TITLES[target].replace('"', "'") for target in targets]


def test_what_was_written_is_rejected(tmp_path, folders) -> None:
    rows, _ = of_rows(folders)
    texts = [[f'"text {row}"'] for row in rows]
    texts[0], texts[5] = ["no quotes"], ['"never closed']
    found, metadata = staged(folders, tmp_path / "out", generated=generated(tmp_path / "g", texts))
    assert found["rejected"] == [[f"text {sample}"] for sample in found["sample"]]
    assert found["smoothing"] == [0] * 16
    # 16 of the first 18 survivors, in another order.
    survivors = [row for place, row in enumerate(rows) if place not in (0, 5)][:18]
    assert len(set(found["sample"])) == 16
    assert set(found["sample"]) < set(survivors)
    assert set(found["sample"]) & set(survivors[16:])
    assert found["sample"] != [row for row in survivors if row in found["sample"]]
    assert metadata == {
        "rows": NUM_ROWS,
        "unknown_targets": 0,
        "random_rows": 0,
        "unparseable": 2,
        "dropped_as_target": 0,
        "padded": 0,
        "kept": 16,
        "same_as_target": 0,
        "in_catalog": 0,
        "rejected": 16,
    }
    again, _ = staged(folders, tmp_path / "again", generated=tmp_path / "g")
    assert again == found
    other, _ = staged(folders, tmp_path / "other", generated=tmp_path / "g", seed=4)
    assert other["sample"] != found["sample"]


def test_first_titles_of_a_ranking_are_rejected(tmp_path, folders) -> None:
    rows, _ = of_rows(folders)
    items = np.array([[row % NUM_ITEMS, (row + 1) % NUM_ITEMS] for row in rows], dtype=np.int32)
    (ranking := tmp_path / "ranking").mkdir()
    write_ranking(Ranking(items=items), ranking)
    found, metadata = staged(folders, tmp_path / "out", recommended=ranking, max_pairs=None)
    expected = {row: TITLES[row % NUM_ITEMS].replace('"', "'") for row in rows}
    rejected = [first for (first,) in found["rejected"]]
    assert dict(zip(found["sample"], rejected, strict=True)) == expected
    assert metadata["in_catalog"] == NUM_ROWS


def test_each_row_has_one_of_several_kinds(tmp_path, folders) -> None:
    given = generated(tmp_path / "g", [['"self"']] * NUM_ROWS)
    several = {"combined_with": ("similar", "random"), "generated": given, "max_pairs": None}
    found, metadata = staged(folders, tmp_path / "out", **several, **grounding(folders))
    kinds = metadata["rows_by_kind"]
    assert list(kinds) == ["generated", "similar", "random"]
    assert min(kinds.values()) > NUM_ROWS / 6
    assert sum(kinds.values()) == NUM_ROWS == len(found["sample"]) + metadata["dropped_as_target"]
    with pytest.raises(BenchError, match="Similar items need an encoder"):
        staged(folders, tmp_path / "none", **several)


def test_fewer_where_there_are_no_more(tmp_path, folders) -> None:
    texts = [["nothing"]] * (NUM_ROWS - 5) + [['"Walden"']] * 5
    given = generated(tmp_path / "g", texts)
    found, metadata = staged(folders, tmp_path / "out", generated=given)
    assert (len(found["sample"]), metadata["in_catalog"], metadata["kept"]) == (5, 5, 5)
    every, _ = staged(folders, tmp_path / "all", generated=given, max_pairs=None)
    assert sorted(every["sample"]) == sorted(found["sample"])
    none, metadata = staged(
        folders, tmp_path / "none", generated=generated(tmp_path / "h", [[""]] * NUM_ROWS)
    )
    assert (none["sample"], metadata["unparseable"]) == ([], NUM_ROWS)


def test_one_negative_may_be_the_target(tmp_path, folders) -> None:
    _, targets = of_rows(folders)
    given = generated(tmp_path / "g", [[f'"{target}"'] for target in targets])
    _, metadata = staged(folders, tmp_path / "out", generated=given)
    assert (metadata["same_as_target"], metadata["in_catalog"], metadata["kept"]) == (16, 16, 16)


def test_shares_of_random_items(tmp_path, folders) -> None:
    rows, targets = of_rows(folders)
    given = generated(tmp_path / "g", [[f'"text {row}"'] for row in rows])
    found = {
        share: staged(
            folders,
            tmp_path / f"share-{share}",
            generated=given,
            random_fraction=share,
            max_pairs=NUM_ROWS,
        )
        for share in (0.0, 0.25, 0.75, 1.0)
    }
    by_sample = {
        share: dict(zip(table["sample"], table["rejected"], strict=True))
        for share, (table, _) in found.items()
    }
    plain, _ = staged(folders, tmp_path / "plain", generated=given, max_pairs=NUM_ROWS)
    assert found[0.0][0] == plain
    assert len({tuple(table["sample"]) for table, _ in found.values()}) == 1
    seen = prepared.read(folders["data"]).windows(rows)
    history_of = dict(zip(rows, seen.histories, strict=True))
    target_of = dict(zip(rows, targets, strict=True))
    for small, large in ((0.0, 0.25), (0.25, 0.75), (0.75, 1.0)):
        for sample, (text,) in by_sample[small].items():
            if not text.startswith("text"):
                assert by_sample[large][sample] == [text]
    for share, rejected in by_sample.items():
        random = {sample: text for sample, (text,) in rejected.items() if text[:4] != "text"}
        assert len(random) == share * NUM_ROWS == found[share][1]["random_rows"]
        for sample, text in random.items():
            assert text != target_of[sample]
            assert text not in [TITLES[item].replace('"', "'") for item in history_of[sample]]


def test_a_share_of_one_is_random_negatives(tmp_path, folders) -> None:
    rows, _ = of_rows(folders)
    texts = [['"Emma"'] if row % 3 else ["unparseable"] for row in rows]
    given, _ = staged(
        folders, tmp_path / "given", generated=generated(tmp_path / "g", texts), random_fraction=1.0
    )
    without, _ = staged(folders, tmp_path / "without", random_fraction=1.0)
    named, _ = staged(folders, tmp_path / "named", negatives="random")
    assert given == without == named
    assert len({text for (text,) in named["rejected"]}) > 3


def test_several_are_distinct_and_never_the_target(tmp_path, folders) -> None:
    _, targets = of_rows(folders)
    quoted = [f'"{target}"' for target in targets]
    texts = [[target, '"one"', '"one"', "none", '"two"', '"three"', '"four"'] for target in quoted]
    texts[0] = ["none", "of", "these"]
    texts[1] = [quoted[1], quoted[1]]
    texts[2] = ['"one"', quoted[2]]
    given = generated(tmp_path / "g", texts)
    found, metadata = staged(
        folders, tmp_path / "out", generated=given, num_negatives=3, max_pairs=None
    )
    rejected = dict(zip(found["sample"], found["rejected"], strict=True))
    rows, _ = of_rows(folders)
    assert rows[0] not in rejected
    assert [rejected[row] for row in rows[3:]] == [["one", "two", "three"]] * (NUM_ROWS - 3)
    assert all(len(set(rejected[row])) == 3 for row in rows[1:])
    assert all(targets[place] not in rejected[rows[place]] for place in (1, 2))
    assert rejected[rows[2]][0] == "one"
    assert (metadata["padded"], metadata["unparseable"], metadata["same_as_target"]) == (5, 1, 0)
    assert metadata["rejected"] == 3 * (NUM_ROWS - 1)


def test_padding_never_repeats_what_was_written(tmp_path, folders) -> None:
    """Every unseen title is written already, but for few: padding must find those."""
    given = generated(tmp_path / "g", [['"Utopia"', '"Walden"']] * NUM_ROWS)
    found, _ = staged(folders, tmp_path / "out", generated=given, num_negatives=3, max_pairs=None)
    assert all(row[:2] == ["Utopia", "Walden"] and len(set(row)) == 3 for row in found["rejected"])


def test_written_titles_become_items(tmp_path, folders) -> None:
    _, targets = of_rows(folders)
    texts = [['"the moonstones\'"'] for _ in targets]
    given = generated(tmp_path / "g", texts)
    found, metadata = staged(
        folders, tmp_path / "out", generated=given, max_pairs=None, **grounding(folders)
    )
    dropped = targets.count("The 'Moonstone'")
    assert dropped > 0
    assert found["rejected"] == [["The 'Moonstone'"]] * (NUM_ROWS - dropped)
    assert (metadata["dropped_as_target"], metadata["same_as_target"]) == (dropped, 0)
    assert metadata["in_catalog"] == NUM_ROWS - dropped


def test_popular_items_by_training_counts(tmp_path, folders) -> None:
    """Only four items occur in training; the rows that have seen three of them get the fourth."""
    found, _ = staged(folders, tmp_path / "out", negatives="random", max_pairs=None)
    assert {"Emma", "Utopia"} < {text for (text,) in found["rejected"]}
    rows, _ = of_rows(folders)
    source = prepared.read(folders["data"])
    seen = source.windows(rows)
    enough = [
        row
        for row, history, target in zip(rows, seen.histories, seen.targets, strict=True)
        if len({*history.tolist(), int(target)}) < 4
    ]
    some = tmp_path / "rows"
    some.mkdir()
    prepared.write_rows(np.array(enough), some)
    popular, _ = staged(
        {**folders, "rows": some}, tmp_path / "popular", negatives="popular", max_pairs=None
    )
    texts = [text for (text,) in popular["rejected"]]
    assert set(texts) == {"Ivanhoe", "The 'Moonstone'", "Dracula", "Silas Marner"}


def test_similar_items(tmp_path, folders) -> None:
    found, metadata = staged(
        folders, tmp_path / "out", negatives="similar", max_pairs=None, **grounding(folders)
    )
    vectors = np.load(folders["vectors"] / "vectors.npy")
    source = prepared.read(folders["data"])
    expected = select_similar(source.windows(found["sample"]), vectors, TITLES, 1)[:, 0]
    assert found["rejected"] == [[TITLES[item].replace('"', "'")] for item in expected]
    assert (metadata["in_catalog"], metadata["same_as_target"]) == (NUM_ROWS, 0)


def test_an_oracle_doubts(tmp_path, folders) -> None:
    texts = [['"Walden"'] if place % 2 else ['"no such book"'] for place in range(NUM_ROWS)]
    found, metadata = staged(
        folders,
        tmp_path / "out",
        generated=generated(tmp_path / "g", texts),
        oracle=folders["oracle"],
        smooth=True,
        max_pairs=None,
    )
    source = prepared.read(folders["data"])
    seen = source.windows(found["sample"])
    scores = load_scorer(folders["oracle"], source.catalog)(seen.histories)
    for row, (text,) in enumerate(found["rejected"]):
        gap = float(scores[row, 6]) - float(scores[row, seen.targets[row]])
        expected = 1 / (1 + np.exp(-gap)) if text == "Walden" else 0
        assert found["smoothing"][row] == pytest.approx(expected, abs=1e-6)
    assert metadata["unsmoothed"] == NUM_ROWS / 2
    assert metadata["mean_smoothing"] == pytest.approx(np.mean(found["smoothing"]), abs=1e-6)
    assert 0.1 < metadata["mean_smoothing"] < 0.9


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "need generated texts"),
        ({"random_fraction": 0.5}, "need generated texts"),
        ({"random_fraction": 1.5, "generated": "g"}, "random_fraction = 1.5"),
        ({"negatives": "popular", "random_fraction": 0.5}, "texts were passed as well"),
        ({"negatives": "dull"}, "negatives = 'dull'"),
        ({"negatives": "similar"}, "need an encoder"),
        ({"negatives": "random", "num_negatives": 0}, "num_negatives = 0"),
        (
            {"negatives": "random", "num_negatives": 2, "smooth": True, "oracle": "o"},
            "one rejected",
        ),
        ({"negatives": "random", "num_negatives": 9}, "fewer than 9 titles"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, folders, changes, sentence) -> None:
    if changes.get("generated"):
        changes = {**changes, "generated": generated(tmp_path / "g", [['"x"']] * NUM_ROWS)}
    if changes.get("oracle"):
        changes = {**changes, "oracle": folders["oracle"]}
    with pytest.raises(BenchError, match=sentence):
        staged(folders, tmp_path / "out", **changes)


def test_rows_with_an_unknown_target_are_left_out(tmp_path, folders, monkeypatch) -> None:
    rows, _ = of_rows(folders)
    whole = prepared.Prepared.windows

    def without(self, samples):
        found = whole(self, samples)
        hidden = np.isin(np.asarray(samples), rows[:4])
        return Windows(
            users=found.users,
            histories=found.histories,
            targets=np.where(hidden, -1, found.targets).astype(np.int32),
        )

    monkeypatch.setattr(prepared.Prepared, "windows", without)
    given = generated(tmp_path / "g", [[f'"text {row}"'] for row in rows])
    found, metadata = staged(folders, tmp_path / "out", generated=given, max_pairs=None)
    assert sorted(found["sample"]) == sorted(rows[4:])
    assert found["rejected"] == [[f"text {sample}"] for sample in found["sample"]]
    assert (metadata["unknown_targets"], metadata["kept"]) == (4, NUM_ROWS - 4)
