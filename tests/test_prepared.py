"""Prepared data: real counts, windows, the way to a folder and back, draws, the two stages."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.config import plugins
from bench.config.cards import DatasetCard
from bench.data import prepared
from bench.data.prepare import find_mismatches, prepare
from bench.data.prepared import Prepared
from bench.data.split import sample_rows
from bench.errors import BenchError
from bench.hashing import Job
from bench.plan.item_stages import DrawConfig, PrepareConfig
from bench.stages import draw as draw_stage
from bench.stages import prepare as prepare_stage


@pytest.fixture(scope="module")
def synthetic() -> Prepared:
    return prepare(plugins.dataset_card("synthetic"), {})


@pytest.fixture(scope="module")
def ml_100k(shared_data: Path) -> Prepared:
    card = plugins.dataset_card("ml-100k")
    paths = {role: shared_data / "ml-100k" / file.name for role, file in card.files.items()}
    return prepare(card, paths)


def small_card(**changes: object) -> DatasetCard:
    content: dict[str, object] = {
        "title": "Small",
        "description": "",
        "license": "none",
        "citation": "none",
        "reader": "recbole",
        "fields": {"user": "u", "item": "i", "time": "t", "rating": "r", "title": "{n}"},
        "split": {"history": 2, "min_history": 1},
    }
    return DatasetCard.model_validate({**content, **changes})


def small_files(folder: Path) -> dict[str, Path]:
    """Write user B first in the file, though A's first kept interaction may come before."""
    rows = ["B\tx\t1\t9", "A\ty\t5\t1", "B\ty\t5\t2", "A\tx\t5\t3", "B\tx\t5\t4", "C\tz\t5\t4"]
    interactions, items = folder / "s.inter", folder / "s.item"
    interactions.write_text("\n".join(["u:token\ti:token\tr:float\tt:float", *rows]) + "\n")
    items.write_text("i:token\tn:token_seq\nx\tX\ny\tY\nz\tZ\nnever\tN\n")
    return {"interactions": interactions, "items": items}


# --- prepare ------------------------------------------------------------------------------------


def test_ml_100k_has_the_documented_counts(ml_100k: Prepared) -> None:
    card = plugins.dataset_card("ml-100k")
    assert find_mismatches(card, ml_100k.counts) == []
    assert ml_100k.counts["samples"] == 90_570
    assert [ml_100k.num(split) for split in prepared.SPLITS] == [72_456, 9_057, 9_057]
    assert ml_100k.catalog.titles[0] == "Toy Story (1995)"
    assert ml_100k.catalog.categories[0] == ("Animation", "Children's", "Comedy")
    assert len(ml_100k.catalog.tracked) == 10
    assert "unknown" not in ml_100k.catalog.tracked
    assert ml_100k.catalog.tracked[:2] == ("Drama", "Comedy")


def test_ml_100k_splits_follow_one_another(ml_100k: Prepared) -> None:
    times = ml_100k.times[ml_100k.target]
    train, valid = ml_100k.boundaries
    assert times[:train].max() <= times[train:valid].min()
    assert times[train:valid].max() <= times[valid:].min()
    assert (ml_100k.target - ml_100k.start == 10).all()


def test_the_catalog_is_the_item_file_unless_items_have_a_minimum(tmp_path: Path) -> None:
    paths = small_files(tmp_path)
    whole = prepare(small_card(), paths)
    assert whole.catalog.ids == ("x", "y", "z", "never")
    assert whole.counts["items with interactions"] == 3
    cored = prepare(small_card(filters={"min_item_interactions": 2}), paths)
    assert cored.catalog.ids == ("x", "y")
    assert cored.user_ids == ("B", "A")
    assert [cored.catalog.ids[item] for item in cored.items] == ["y", "x", "x", "y", "x"]


def test_users_are_numbered_by_their_first_interaction_that_is_left(tmp_path: Path) -> None:
    data = prepare(small_card(filters={"min_rating": 2}), small_files(tmp_path))
    assert data.user_ids == ("A", "B", "C")
    assert data.counts["filtered out"] == 1
    assert data.times.tolist() == [1, 3, 2, 4, 4]


def test_no_sample_is_an_error_and_a_typo_in_a_category_a_note(tmp_path: Path) -> None:
    paths = small_files(tmp_path)
    with pytest.raises(BenchError, match="Small has no sample"):
        prepare(small_card(split={"history": 10, "min_history": 10}), paths)
    noted = prepare(small_card(categories={"drop": ["unkown"]}), paths)
    assert noted.notes == ("The card excludes the category 'unkown', which no item has.",)


def test_unexpected_counts_are_told_and_unknown_ones_refused() -> None:
    card = small_card(expected={"users": 3, "items": 4})
    assert find_mismatches(card, {"users": 3, "items": 5}) == [
        "Small has 5 items, the card expects 4."
    ]
    with pytest.raises(BenchError, match="no count named 'user'"):
        find_mismatches(small_card(expected={"user": 3}), {"users": 3})


# --- windows ------------------------------------------------------------------------------------


def test_windows_are_padded_on_the_right(tmp_path: Path) -> None:
    data = prepare(small_card(), small_files(tmp_path))
    # B: y at 2, x at 4, x at 9; A: y at 1, x at 3.
    windows = data.windows(range(3))
    assert [data.user_ids[user] for user in windows.users] == ["A", "B", "B"]
    assert windows.histories.tolist() == [[1, -1], [1, -1], [1, 0]]
    assert windows.targets.tolist() == [0, 0, 0]
    assert windows.histories.dtype == np.int32


def test_windows_equal_a_plain_loop(synthetic: Prepared) -> None:
    chosen = np.array([5, 0, len(synthetic.target) - 1, 5])
    windows = synthetic.windows(chosen)
    for row, sample in enumerate(chosen):
        start, target = synthetic.start[sample], synthetic.target[sample]
        assert windows.histories[row].tolist() == synthetic.items[start:target].tolist()
        assert windows.targets[row] == synthetic.items[target]
        assert windows.users[row] == synthetic.users[target]
    assert synthetic.windows([]).histories.shape == (0, 10)


def test_training_interactions_hold_nothing_from_after_training(synthetic: Prepared) -> None:
    last = synthetic.times[synthetic.target[synthetic.boundaries[0] - 1]]
    inside = synthetic.train_interactions()
    assert synthetic.times[inside].max() == last
    assert 0 < len(inside) < len(synthetic.times)


def test_an_unknown_split_is_refused(synthetic: Prepared) -> None:
    with pytest.raises(BenchError) as caught:
        synthetic.num("vali")
    assert caught.value.hint == "Did you mean 'valid'?"


# --- folders ------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(synthetic: Prepared, tmp_path: Path) -> None:
    prepared.write(synthetic, tmp_path)
    back = prepared.read(tmp_path)
    for field in dataclasses.fields(Prepared):
        one, two = getattr(synthetic, field.name), getattr(back, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)
        else:
            assert one == two
    assert back.fingerprint == synthetic.fingerprint


CHANGES = {
    "user_ids": lambda data: ("other", *data.user_ids[1:]),
    "items": lambda data: np.roll(data.items, 1),
    "ratings": lambda data: np.ones_like(data.ratings),
    "times": lambda data: data.times + 1,
    "start": lambda data: data.start + 1,
    "target": lambda data: data.target[::-1],
    "boundaries": lambda data: (data.boundaries[0] - 1, data.boundaries[1]),
    "catalog": lambda data: dataclasses.replace(data.catalog, tracked=()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_content_counts_in_the_fingerprint(synthetic: Prepared, name: str) -> None:
    changed = dataclasses.replace(synthetic, **{name: CHANGES[name](synthetic)})
    assert changed.fingerprint != synthetic.fingerprint


def test_counts_and_the_kind_of_nan_do_not_count(synthetic: Prepared) -> None:
    other_nan = np.full(len(synthetic.ratings), 0xFFC00001, dtype=np.uint32).view(np.float32)
    assert np.isnan(other_nan).all()
    changed = dataclasses.replace(synthetic, counts={}, notes=("x",), ratings=other_nan)
    assert changed.fingerprint == synthetic.fingerprint


def test_the_fingerprint_of_ml_100k_stays(ml_100k: Prepared) -> None:
    """A change here makes every published result incomparable: say so in the change log."""
    assert ml_100k.fingerprint.startswith("6b75c0230100")


def test_folders_of_something_else_are_refused(synthetic: Prepared, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="does not contain prepared data"):
        prepared.read(tmp_path)
    with pytest.raises(BenchError, match="does not contain sampled rows"):
        prepared.load_rows(tmp_path)
    (tmp_path / "data.json").write_text('{"format": "a model"}')
    with pytest.raises(BenchError, match="does not contain prepared data 2"):
        prepared.read(tmp_path)
    prepared.write(synthetic, tmp_path)
    (tmp_path / "samples.parquet").write_bytes(b"PAR1")
    with pytest.raises(BenchError, match="does not contain prepared data"):
        prepared.read(tmp_path)


def test_changed_prepared_data_are_refused(synthetic: Prepared, tmp_path: Path) -> None:
    prepared.write(synthetic, tmp_path)
    table = {"start": synthetic.start, "target": synthetic.target[::-1]}
    pq.write_table(pa.table(table), tmp_path / "samples.parquet")
    with pytest.raises(BenchError, match="were changed"):
        prepared.read(tmp_path)


# --- draws --------------------------------------------------------------------------------------


def sample_set(
    num: int | None, *, seed: int = 0, split: str = "train", strict: bool = False
) -> set[int]:
    rows = sample_rows(range(100, 200), split=split, num=num, seed=seed, strict=strict)
    assert (np.diff(rows) > 0).all()
    assert rows.dtype == np.int64
    assert set(rows.tolist()) <= set(range(100, 200))
    return set(rows.tolist())


def test_draws_are_seeded_and_nested() -> None:
    assert len(sample_set(20)) == 20
    assert sample_set(20) == sample_set(20)
    assert sample_set(20) < sample_set(50)
    assert sample_set(20) != sample_set(20, seed=1)
    assert sample_set(20) != sample_set(20, split="valid")


def test_a_draw_takes_at_most_what_is_there() -> None:
    assert sample_set(None) == sample_set(100) == sample_set(1000) == set(range(100, 200))
    assert len(sample_set(100, strict=True)) == 100
    with pytest.raises(BenchError, match="has 100 samples, fewer than the 101 requested"):
        sample_set(101, strict=True)
    with pytest.raises(BenchError, match="The valid split has no samples"):
        sample_rows(range(0), split="valid", num=None, seed=0, strict=False)


# --- stages -------------------------------------------------------------------------------------


def prepare_job(name: str, out: Path, data_dir: Path | None = None) -> Job:
    card = plugins.dataset_card(name)
    out.mkdir()
    job = Job(out=out, data_dir=data_dir, offline=True)
    sums = {role: file.sha256 for role, file in card.files.items()}
    config = PrepareConfig(name=name, card=card.preparation(), checksums=sums)
    prepare_stage.run(job, config, {})
    return job


def test_the_stages_of_a_data_set_without_files(synthetic: Prepared, tmp_path: Path) -> None:
    job = prepare_job("synthetic", tmp_path / "data")
    assert job.metadata["fingerprint"] == synthetic.fingerprint
    assert job.metadata["notes"] == []
    json.dumps(job.metadata, allow_nan=False)
    rows = tmp_path / "rows"
    rows.mkdir()
    draw_job = Job(out=rows)
    config = DrawConfig(split="test", num=50, seed=0)
    draw_stage.run(draw_job, config, {"data": tmp_path / "data"})
    samples = prepared.load_rows(rows)
    assert draw_job.metadata == {"rows": 50, "available": 240}
    assert set(samples.tolist()) <= set(synthetic.sample_range("test"))


def test_the_stage_finds_real_files(ml_100k: Prepared, shared_data: Path, tmp_path: Path) -> None:
    job = prepare_job("ml-100k", tmp_path / "data", shared_data)
    assert job.metadata["fingerprint"] == ml_100k.fingerprint
    assert job.metadata["notes"] == []


def test_the_stage_refuses_a_damaged_file(shared_data: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(shared_data / "ml-100k", own)
    with (own / "ml-100k.inter").open("ab") as file:
        file.write(b"1\t1\t5\t881250949\n")
    with pytest.raises(BenchError, match="but the card requires 4edb74e2a811"):
        prepare_job("ml-100k", tmp_path / "data", own)


def test_the_stage_refuses_a_card_that_changed(tmp_path: Path) -> None:
    card = plugins.dataset_card("synthetic").preparation()
    for changed, sums in (({**card, "reader": "recbole"}, {}), (card, {"items": None})):
        with pytest.raises(BenchError, match="synthetic changed during the run"):
            config = PrepareConfig(name="synthetic", card=changed, checksums=sums)
            prepare_stage.run(Job(out=tmp_path), config, {})
