"""The stages `embed` and `ground`: from written texts to a ranking, by a tiny encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from stage_runs import run_stage
from tiny_encoder import write_encoder

from bench.data import prepared
from bench.data.assets import encoder_checksums
from bench.data.catalog import Catalog
from bench.data.prompts import quotable, response
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.encode.grounding import VECTORS_FILE, compute_distances, read_vectors
from bench.models.lm.encode.sentence_encoder import load_encoder
from bench.models.lm.generated_texts import write_texts
from bench.plan.item_stages import EvaluateConfig
from bench.plan.language_stages import EmbedConfig, GroundingConfig
from bench.results.ranking_file import read_ranking

# The second and the last are one title to prompts; the third has quotes inside.
TITLES = ("the red house", "a tree", 'the "red"  river', "green sea", "a  tree")
CASES = np.array([4, 1, 2, 0, 3, 5])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    write_encoder(tmp_path)
    places = np.arange(7)
    source = prepared.Prepared(
        catalog=Catalog(ids=tuple("ABCDE"), titles=TITLES, categories=((),) * 5, tracked=()),
        user_ids=("x",),
        users=np.zeros(7, dtype=np.int32),
        items=(places % 5).astype(np.int32),
        ratings=np.ones(7, dtype=np.float32),
        times=places,
        start=np.zeros(6, dtype=np.int64),
        target=places[1:],
        boundaries=(2, 4),
        history=6,
    )
    for name in ("data", "cases", "generated", "vectors", "ranking"):
        (tmp_path / name).mkdir()
    prepared.write(source, tmp_path / "data")
    prepared.write_rows(CASES, tmp_path / "cases")
    return tmp_path


def embedded(root: Path, **given: Any) -> Job:
    values = {"encoder": "tiny", "encoder_checksums": encoder_checksums("tiny"), **given}
    folders = {"data_dir": root, "data": root / "data"}
    return run_stage("embed", EmbedConfig, root / "vectors", **values, **folders)


def grounded(root: Path, texts: list[tuple[str, ...]], depth: int = 5, **given: Any) -> Job:
    scores = tuple(tuple(-float(place) for place in range(len(row))) for row in texts)
    write_texts(texts, scores, root / "generated")
    values: dict[str, Any] = {
        "encoder": "tiny",
        "encoder_checksums": encoder_checksums("tiny"),
        "depth": depth,
        "data": root / "data",
        "cases": root / "cases",
        "generated": root / "generated",
        "vectors": root / "vectors",
    }
    values |= given
    return run_stage("ground", GroundingConfig, root / "ranking", data_dir=root, **values)


def test_titles_are_encoded_as_prompts_write_them(root: Path) -> None:
    job = embedded(root)
    vectors = read_vectors(root / "vectors")
    encoder = load_encoder("tiny", offline=True, data_dir=root)
    titles = [quotable(title) for title in TITLES]
    assert titles[2] == "the 'red' river"
    assert (vectors.dtype, vectors.shape) == (np.float32, (5, encoder.width))
    assert vectors.tolist() == encoder.encode(titles).tolist()
    assert vectors[1].tolist() == vectors[4].tolist()
    assert job.metadata == {"titles": 4, "width": encoder.width}


def test_every_title_as_prompts_write_it_is_found_at_distance_zero(root: Path) -> None:
    embedded(root)
    texts = [(response(TITLES[item]),) for item in (0, 1, 2, 3, 4, 2)]
    job = grounded(root, texts)
    ranking = read_ranking(root / "ranking")
    assert ranking.items[:, 0].tolist() == [0, 1, 2, 3, 1, 2]
    assert ranking.items[1, :2].tolist() == ranking.items[4, :2].tolist() == [1, 4]
    assert ranking.scores is not None
    assert ranking.valid is not None
    assert ranking.scores[:, 0] == pytest.approx(np.zeros(6), abs=1e-3)
    assert ranking.valid.all()
    assert job.metadata == {"valid": 1.0, "cases": 6, "distinct_titles": 4}


def test_the_best_text_alone_counts_and_the_nearest_titles_follow(root: Path) -> None:
    embedded(root)
    texts = [
        ('"green house"', '"a tree"'),
        ('"the "red"  river"',),  # ends at its second quote: names no item
        ("",),
        ('"a tree',),
        ("the sea\nof green",),
        ('"a tree"', '"green sea"'),
    ]
    job = grounded(root, texts, depth=3)
    ranking = read_ranking(root / "ranking")
    encoder = load_encoder("tiny", offline=True, data_dir=root)
    names = ["green house", "the ", "NAN", "a tree", "the sea", "a tree"]
    far = compute_distances(encoder.encode(names), read_vectors(root / "vectors"))
    nearest = np.argsort(far, axis=1, kind="stable")[:, :3]
    assert ranking.items.tolist() == nearest.tolist()
    assert ranking.scores is not None
    assert ranking.valid is not None
    assert -ranking.scores == pytest.approx(np.take_along_axis(far, nearest, 1), abs=1e-3)
    assert ranking.valid.tolist() == [False, False, False, True, False, True]
    assert ranking.texts == tuple(row[0] for row in texts)
    assert job.metadata == {"valid": 0.333333, "cases": 6, "distinct_titles": 5}


@pytest.mark.parametrize(("group_titles", "hits"), [(True, [1] * 6), (False, [1, 1, 1, 1, 0, 1])])
def test_the_title_of_the_target_hits_whichever_item_has_it(
    root: Path, group_titles: bool, hits: list[int]
) -> None:
    """The target of the fifth case is the second item of its title, the first one is nearest."""
    targets = prepared.load(root / "data").windows(CASES).targets.tolist()
    assert targets == [0, 2, 3, 1, 4, 1]
    embedded(root)
    grounded(root, [(response(TITLES[item]),) for item in targets])
    assert read_ranking(root / "ranking").items[:, 0].tolist() == [0, 2, 3, 1, 1, 1]
    inputs = {name: root / name for name in ("data", "cases", "ranking")}
    out = root / "evaluation"
    run_stage("evaluate", EvaluateConfig, out, ks=(1,), group_titles=group_titles, **inputs)
    assert pq.read_table(out / "cases.parquet")["HR@1"].to_pylist() == hits


def test_a_list_is_no_longer_than_the_catalog(root: Path) -> None:
    embedded(root)
    grounded(root, [('"a tree"',)] * 6, depth=100)
    assert read_ranking(root / "ranking").items.shape == (6, 5)


def test_no_cases(root: Path) -> None:
    embedded(root)
    (root / "none").mkdir()
    prepared.write_rows(np.empty(0, dtype=np.int64), root / "none")
    job = grounded(root, [], cases=root / "none")
    assert job.metadata == {"cases": 0, "distinct_titles": 0}


def test_a_card_that_changed_is_refused(root: Path) -> None:
    checksums = encoder_checksums("tiny")
    embedded(root)
    card = root / "encoders" / "tiny.toml"
    card.write_text(card.read_text().replace("max_length = 8", "max_length = 7"))
    changed = r"^The card of the encoder tiny changed during the run\.$"
    with pytest.raises(BenchError, match=changed):
        embedded(root, encoder_checksums=checksums)
    with pytest.raises(BenchError, match=changed):
        grounded(root, [('"a tree"',)] * 6, encoder_checksums=checksums)


def test_inputs_that_do_not_fit_are_refused(root: Path) -> None:
    with pytest.raises(BenchError, match="no vectors"):
        grounded(root, [('"a tree"',)] * 6)
    embedded(root)
    with pytest.raises(BenchError, match="texts of 5 rows, and 6 are ranked"):
        grounded(root, [('"a tree"',)] * 5)
    np.save(root / "vectors" / VECTORS_FILE, np.zeros((4, 16), dtype=np.float32))
    with pytest.raises(BenchError, match="vectors of 4 items, and the catalog has 5"):
        grounded(root, [('"a tree"',)] * 6)
