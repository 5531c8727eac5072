"""A plan that learns from the cases it is evaluated on is refused, by every command."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_explain import call

from bench.config import plugins
from bench.plan.leaks import LeakError
from bench.testing import check_method, plan_trials

HEAD = '''"""Leaks."""
from __future__ import annotations
from dataclasses import dataclass, replace
import numpy as np
from bench.api import *
from bench.api import Stage

def fit(train, catalog):
    counts = np.bincount(train.targets[train.targets >= 0], minlength=len(catalog))
    return lambda histories: np.tile(counts.astype(float), (len(histories), 1))

@dataclass(frozen=True, kw_only=True)
class Method:
    """Leaks."""

    TASK = "{task}"

    def plan(self, data, model, seed):
        """Leak."""
        {body}
'''
TUNED = "policy = sft(require_model(model), {rows}, SFTConfig(), seed=seed{more}); "
GROUNDED = "return Plan(ranking=generate_and_ground({policy}, data, GenerationConfig(), GROUND))"
PREFERRED = (
    "pairs = sample_pairs({rows}, PairConfig(negatives='random'), seed=seed{more}); "
    "policy = optimize_preferences(policy, pairs, PreferenceConfig(), seed=seed); "
)
GROUND = "GroundingConfig(encoder='trigrams')"
LEAKS = {
    "rank": "return Plan(ranking=rank(data.test, scorer='{name}:fit', train=data.test))",
    "rank on validation": "return Plan(ranking=rank(data.test, scorer='{name}:fit', "
    "train=data.valid))",
    "sampled": "return Plan(ranking=rank(data.test, scorer='{name}:fit', "
    "train=sample_rows(data.test, 9, seed=1)))",
    "disguised": "return Plan(ranking=rank(data.test, scorer='{name}:fit', "
    "train=replace(data.train, stage=data.test.stage)))",
    "the data as model": "return Plan(ranking=rank(data.test, scorer='{name}:fit', "
    "model=data.test.data))",
    "a test epoch": "return Plan(ranking=rank(data.test, model=train_sasrec(data.train, data.test, "
    "seed=seed)))",
    "an item model": "return Plan(ranking=rank(data.test, model=train_sasrec(data.test, data.valid,"
    " seed=seed)))",
    "a language model": TUNED.format(rows="data.test", more="") + GROUNDED.format(policy="policy"),
    "a language model on validation": TUNED.format(rows="data.valid", more="")
    + GROUNDED.format(policy="policy"),
    "preferences": TUNED.format(rows="data.train", more="")
    + PREFERRED.format(rows="data.test", more="")
    + GROUNDED.format(policy="policy"),
    "generated negatives": TUNED.format(rows="data.train", more="")
    + PREFERRED.format(
        rows="data.train", more=", generated=generate(policy, data.test, GenerationConfig())"
    )
    + GROUNDED.format(policy="policy"),
    "a selection": "ranks = {{'a': rank(data.test, scorer='{name}:fit', train=data.train)}}; "
    "return Plan(ranking=select_ranking(ranks, ranks, data.test, metric='NDCG@5'))",
    "a checkpoint": "good = rank(data.test, scorer='{name}:fit', train=data.train); "
    "bad = rank(data.test, scorer='{name}:fit', train=data.test); "
    "return Plan(ranking=good, checkpoints={{'bad': bad}})",
    "popularity of test": "return Plan(ranking=beam_search_rank(require_model(model), data.test, "
    "data.test, DecodingConfig()))",
    "other data": "config = data.train.data.config; config = replace(config, name='mine'); "
    "other = replace(data.train.data, config=config); "
    "train = replace(data.train, stage=replace(data.train.stage, inputs={{'data': other}})); "
    "return Plan(ranking=rank(data.test, scorer='{name}:fit', train=train))",
    "the oracle": "return Plan(ranking=order_lists(require_lists(data), "
    "ListOrderConfig(by='oracle')))",
    "test lists": "return Plan(ranking=rerank_lists(require_lists(data), "
    "RerankerConfig(select_on='test'), seed=seed))",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_method(folder: Path, name: str, leak: str) -> None:
    body = LEAKS[leak].replace("GROUND)", f"{GROUND})").format(name=name)
    task = "rerank" if "lists" in body else "next-item"
    (folder / f"{name}.py").write_text(HEAD.format(body=body, task=task))


@pytest.mark.parametrize("leak", LEAKS)
def test_a_plan_that_learns_from_its_test_cases_is_refused(folder: Path, leak: str) -> None:
    name = "leak_" + leak.replace(" ", "_")
    write_method(folder, name, leak)
    words = "test split|validation split|not the trial's own|test lists"
    with pytest.raises(LeakError, match=words):
        plan_trials(name)


@pytest.mark.parametrize("leak", ["rank", "an item model", "a language model"])
def test_every_command_refuses_it(
    folder: Path,
    leak: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "command_" + leak.replace(" ", "_")
    write_method(folder, name, leak)
    sentence = "trains on the test split"
    assert sentence in check_method(name, folder / "check")[-1].problem
    options = ["--method", name, "--dataset", "synthetic", "--budget", "smoke", "--model", "tiny"]
    for command in ("plan", "run"):
        assert call(monkeypatch, command, *options) == 2
        assert sentence in capsys.readouterr().err
    assert not (folder / "results").exists()


@pytest.mark.parametrize("name", plugins.method_names())
def test_no_method_of_the_project_leaks(name: str) -> None:
    assert [trial.problem for trial in plan_trials(name)] == ["", ""]


SCORERS = {
    "writes into the histories": "histories[:] = 0; return np.tile(counts, (len(histories), 1))",
    "another ranking the second time": "import time; "
    "rng = np.random.default_rng(int(time.time())); "
    "return rng.random((len(histories), len(catalog)))",
    "have other scores": "return np.tile(counts, (len(histories), 1)) * len(histories)",
    "the method sees them": "from pathlib import Path; from importlib import import_module; "
    "folders = Path('check').rglob('prepare/*'); "
    "newest = max(folders, key=lambda path: path.stat().st_mtime); "
    "data = import_module('bench.data.prepared').read(newest); "
    "return np.tile(data.items[data.target[-1]] == np.arange(len(catalog)), (len(histories), 1))",
}


@pytest.mark.parametrize("problem", SCORERS)
def test_check_names_what_a_scorer_must_not_do(folder: Path, problem: str) -> None:
    name = "scorer_" + problem.replace(" ", "_")
    text = HEAD.format(
        task="next-item",
        body=f"return Plan(ranking=rank(data.test, scorer='{name}:fit', train=data.train))",
    )
    text = text.replace(
        "    return lambda histories: np.tile(counts.astype(float), (len(histories), 1))",
        f"    def score(histories):\n        {SCORERS[problem]}\n    return score",
    )
    (folder / f"{name}.py").write_text(text)
    assert problem in check_method(name, folder / "check")[-1].problem
