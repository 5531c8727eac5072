"""The contamination probe: exchanged pairs, their control, and its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Bench

from bench.data.catalog import Catalog
from bench.data.prepared import Prepared
from bench.models.lm import probe
from bench.runner.probe import summarize_task, wilson, write_report

NUM = 40
TITLES = tuple(f"Film number {item}" for item in range(NUM))


@pytest.fixture
def prepared() -> Prepared:
    """Every user sees five items in a row, then the next one in the test split."""
    items = np.concatenate([np.arange(user, user + 6) % NUM for user in range(NUM)])
    return Prepared(
        catalog=Catalog(ids=tuple(map(str, range(NUM))), titles=TITLES, categories=((),) * NUM),
        user_ids=tuple(map(str, range(NUM))),
        users=np.repeat(np.arange(NUM, dtype=np.int32), 6),
        items=items.astype(np.int32),
        ratings=np.zeros(6 * NUM, dtype=np.float32),
        times=np.tile(np.arange(6), NUM),
        start=np.arange(0, 6 * NUM, 6),
        target=np.arange(5, 6 * NUM, 6),
        boundaries=(0, 0),
        history=5,
    )


def test_exchanges_hold_the_same_texts_in_another_pairing(prepared: Prepared) -> None:
    exchanges = probe.make_exchanges(prepared, TITLES, 10, seed=0)
    assert exchanges.keys() == probe.TASKS.keys()
    for task in ("title of an id", "next interaction", "end of a title"):
        for each in exchanges[task]:
            assert {c for c, _ in each.real} == {c for c, _ in each.exchanged}
            assert sorted(t for _, t in each.real) == sorted(t for _, t in each.exchanged)
            assert not {*each.real} & {*each.exchanged}
    for each in exchanges["title of an id"]:
        assert all(TITLES[int(context[:-2])] == title for context, title in each.real)
    for each in exchanges["next interaction"]:
        for context, title in each.real:
            last = context.strip().splitlines()[-1]
            assert TITLES.index(title) == (TITLES.index(last) + 1) % NUM
    for each in exchanges["order of a history"]:
        (_, real), (_, shuffled) = *each.real, *each.exchanged
        assert sorted(real.splitlines()) == sorted(shuffled.splitlines())
        assert real != shuffled
    assert all(len(each) <= 10 for each in exchanges.values())


@pytest.mark.parametrize("knows", [True, False])
def test_a_model_that_knows_the_ids_is_right_only_with_the_real_titles(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, knows: bool
) -> None:
    def score(model: None, tokenizer: None, texts: list[tuple[str, str]]) -> np.ndarray:
        """Prefer short texts and long contexts always, and the right title of an id if it knows."""
        known = [
            knows and context.endswith("::") and TITLES[int(context[:-2])] == title
            for context, title in texts
        ]
        return np.array([3 * k - len(t) + len(c) for k, (c, t) in zip(known, texts, strict=True)])

    monkeypatch.setattr(probe, "score_texts", score)
    shuffled = [TITLES[item - 7] for item in range(NUM)]
    real, control = (
        probe.judge_exchanges(
            None, None, probe.make_exchanges(prepared, titles, 20, 0)["title of an id"]
        )
        for titles in (TITLES, shuffled)
    )
    assert real.mean() == (1.0 if knows else 0.5), "context and title by themselves cancel"
    result = summarize_task("title of an id", "?", real, control)
    assert (result.verdict == "above chance and above the control") == knows
    page = write_report("m", "d", [result])
    assert "What this can and cannot show" in page


def test_shares_have_wilsons_interval() -> None:
    # Newcombe (1998), table I: 81 of 263 is .2553 to .3662.
    assert wilson(81 / 263, 263) == pytest.approx((81 / 263, 0.2553, 0.3662), abs=1e-4)
    assert wilson(1.0, 10)[2] == pytest.approx(1.0)


def test_the_command_writes_a_page(bench: Bench) -> None:
    done = bench("probe", "tiny", "--dataset", "synthetic", "--comparisons", "10")
    assert done.code == 0, done.err
    text = Path(".bench/pages/probe-tiny-synthetic.md").read_text()
    assert all(task in text for task in probe.TASKS)
    assert Path(".bench/pages/probe-tiny-synthetic.html").is_file()
