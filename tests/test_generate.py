"""The stage that writes: order, adapters, memory, metadata, refusals; diagnostics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from stage_runs import run_stage
from tiny_writer import write_backbone

from bench.data import prepared
from bench.data.catalog import Catalog
from bench.errors import BenchError
from bench.hashing import Job
from bench.metrics.writing import first_word, new_share, top_share
from bench.models.lm.decode.decoding import generate_texts
from bench.models.lm.generated_texts import FILE, read_texts, write_texts
from bench.models.lm.tokenization import encode_prompts, history_titles
from bench.models.lm.tuned_model import load
from bench.plan.language_stages import GenerationConfig
from bench.plan.types import Nouns
from bench.stages import generate as stage

LORA = {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}
FULL = {"kind": "full"}
NOUNS = Nouns("movie", "movies")
# Numbers of samples as `sample` leaves them: in no order.
ROWS = np.array([7, 2, 19, 11, 3, 0, 15, 8])


def write_data(folder: Path) -> prepared.Prepared:
    """Three users with ten interactions each, eight items titled by single letters."""
    places = np.arange(30)
    target = places[places % 10 > 1]
    source = prepared.Prepared(
        catalog=Catalog(
            ids=tuple("ABCDEFGH"), titles=tuple("abcdefgh"), categories=((),) * 8, tracked=()
        ),
        user_ids=tuple("xyz"),
        users=(places // 10).astype(np.int32),
        items=(places * 3 % 8).astype(np.int32),
        ratings=np.ones(30, dtype=np.float32),
        times=places,
        start=np.maximum(target - 5, target // 10 * 10),
        target=target,
        boundaries=(12, 16),
        history=5,
    )
    folder.mkdir()
    prepared.write(source, folder)
    return source


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generate")
    write_data(root / "data")
    (root / "rows").mkdir()
    prepared.write_rows(ROWS, root / "rows")
    write_backbone(root / "backbone")
    tuned = load(root / "backbone", tuning=LORA, dtype="float32", seed=1)
    with torch.no_grad():
        for name, weight in tuned.model.named_parameters():
            if "lora_B" in name:  # zero at first, which would change nothing
                generator = torch.Generator().manual_seed(len(name))
                weight.copy_(torch.randn(weight.shape, generator=generator))
    (root / "adapter").mkdir()
    tuned.save(root / "adapter")
    return root


def run(root: Path, out: Path, *, rows: str = "rows", **changes: Any) -> Job:
    values: dict[str, Any] = {
        "max_new_tokens": 6,
        "tuning": FULL,
        "context": 128,
        "nouns": NOUNS,
        "data": root / "data",
        "rows": root / rows,
        "backbone": root / "backbone",
    }
    return run_stage("generate", GenerationConfig, out, **values | changes)


def expected(root: Path, start: Path | None, tuning: dict[str, Any]) -> list[tuple[str, ...]]:
    """Row by row, the adapter beside the base weights."""
    policy = load(root / "backbone", start=start, tuning=tuning, dtype="float32")
    source = prepared.read(root / "data")
    found = []
    for row in ROWS:
        titles = history_titles(source.windows([row]), source.catalog)
        prompts, _ = encode_prompts(policy.tokenizer, titles, nouns=NOUNS, max_length=122)
        [written] = generate_texts(
            policy.model,
            policy.tokenizer,
            prompts,
            GenerationConfig(max_new_tokens=6),
            streams=[(0, 0)],
            titles=True,
        )
        found.append(written.texts)
    return found


def read_scores(folder: Path) -> list[list[float]]:
    scores: list[list[float]] = pq.read_table(folder / FILE)["scores"].to_pylist()
    return scores


def test_texts_come_in_the_order_of_the_rows(root: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    run(root, tmp_path / "out")
    assert torch.get_num_threads() == before
    written = read_texts(tmp_path / "out", rows=ROWS)
    assert list(map(tuple, written)) == expected(root, None, FULL)
    assert len(set(map(tuple, written))) > 2
    assert all(score < 0 for row in read_scores(tmp_path / "out") for score in row)


def test_an_adapter_is_merged_for_the_time_being(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "base", tuning=LORA)
    run(root, tmp_path / "tuned", tuning=LORA, start=root / "adapter")
    run(root, tmp_path / "again", tuning=LORA)
    base, tuned, again = (
        read_texts(tmp_path / name, rows=ROWS) for name in ("base", "tuned", "again")
    )
    assert list(map(tuple, tuned)) == expected(root, root / "adapter", LORA)
    assert base != tuned
    assert base == again


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"num_beams": 3, "num_return_sequences": 2},
        {"temperature": 1.0, "num_return_sequences": 3},
    ],
)
def test_short_memory_changes_nothing(root: Path, tmp_path: Path, how: dict[str, Any]) -> None:
    run(root, tmp_path / "once", **how)
    run(root, tmp_path / "parts", divisor=64, **how)
    once, parts = (read_texts(tmp_path / name, rows=ROWS) for name in ("once", "parts"))
    assert once == parts
    assert {len(row) for row in once} == {how.get("num_return_sequences", 1)}
    for row, other in zip(
        *(read_scores(tmp_path / name) for name in ("once", "parts")), strict=True
    ):
        assert row == pytest.approx(other, abs=1e-4)


def test_histories_are_cut_to_leave_room(root: Path, tmp_path: Path) -> None:
    whole = run(root, tmp_path / "whole")
    assert whole.metadata["histories_cut"] == 0
    policy = load(root / "backbone", tuning=FULL, dtype="float32")
    source = prepared.read(root / "data")
    titles = history_titles(source.windows(ROWS), source.catalog)
    prompts, _ = encode_prompts(policy.tokenizer, titles, nouns=NOUNS, max_length=999)
    lengths = [len(prompt) for prompt in prompts]
    context = max(lengths) + 6 - 1
    assert min(lengths) < max(lengths)
    cut = run(root, tmp_path / "cut", context=context)
    assert cut.metadata["histories_cut"] == lengths.count(max(lengths))
    prompts, num_truncated = encode_prompts(
        policy.tokenizer, titles, nouns=NOUNS, max_length=context - 6
    )
    assert num_truncated == cut.metadata["histories_cut"]
    assert max(map(len, prompts)) <= context - 6


def test_stage_metadata(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(texts: list[str]) -> list[SimpleNamespace]:
        return [SimpleNamespace(texts=(text,), scores=(-1.0,), num_tokens=(3,)) for text in texts]

    texts = ['"a b"', '"A c', "", '"d"', '"a b"', '""', "e", '"d e f"']
    monkeypatch.setattr(stage, "generate_texts", lambda *given, **how: written(texts))
    metadata = run(root, tmp_path / "out").metadata
    assert (metadata["rows"], metadata["tokens"]) == (8, 24)
    # First words: a a nan d a "" e d.
    assert {name: metadata[name] for name in ("closed", "empty", "first_word_top")} == {
        "closed": 5 / 8,
        "empty": 1 / 8,
        "first_word_top": 3 / 8,
    }
    assert metadata["first_word_repeated"] == 1 - 5 / 8
    assert metadata["first_token_top"] == 2 / 8  # a ? ? d a - e d
    assert metadata["tokens_per_second"] > 0


def test_no_rows(root: Path, tmp_path: Path) -> None:
    (root / "none").mkdir(exist_ok=True)
    prepared.write_rows(np.empty(0, dtype=np.int64), root / "none")
    job = run(root, tmp_path / "out", rows="none")
    assert (job.metadata["rows"], job.metadata["tokens"]) == (0, 0)
    assert len(read_texts(tmp_path / "out", rows=[])) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"context": 6}, "A context of 6 tokens has no space for a prompt"),
        ({"context": 30}, "A prompt without any history .* 24 fit"),
        ({"num_return_sequences": 2}, "cannot return 2 texts"),
        ({"threads": 0}, "0 threads"),
    ],
)
def test_refusals(root: Path, tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        run(root, tmp_path / "out", **given)


# --- texts on disk -------------------------------------------------------------------------------


def test_texts_come_back_as_written(tmp_path: Path) -> None:
    texts, scores = [['"Émile"', ""], ["\n"]], [[-0.1, -2.5], [-1e-9]]
    write_texts(texts, scores, tmp_path)
    assert read_texts(tmp_path, rows=[0, 1]) == texts
    assert read_scores(tmp_path) == scores
    with pytest.raises(BenchError, match="texts of 2 rows, and 3 are ranked"):
        read_texts(tmp_path, rows=[0, 1, 2])
    with pytest.raises(BenchError, match="no readable generated texts"):
        read_texts(tmp_path / "nowhere", rows=[])


# --- diagnostics ---------------------------------------------------------------------------------


def test_repeated_beginnings() -> None:
    names = ["The Burbs", "the Thing", "Alien", "THE Rock", "", "  "]
    words = [first_word(name) for name in names]
    assert words == ["the", "the", "alien", "the", "", ""]
    assert top_share(words) == 3 / 6
    assert new_share(words) == 3 / 6
    assert (top_share("aaaa"), new_share("aaaa")) == (1, 1 / 4)
    assert (top_share("abcd"), new_share("abcd")) == (1 / 4, 1)
