"""Constrained beam search: specs/llm-methods.md 4.1, 4.2 and 5.3, numbers of (g); certificates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from constrained_models import (
    VOCABULARY,
    Table,
    Tables,
    each_alone,
    made_up_prompts,
    made_up_titles,
    tiny_llama,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from bench.models.lm.decode import item_search
from bench.models.lm.decode.constrained_beam import (
    TitleLists,
    constrained_beam_search,
    token_log_probabilities,
)
from bench.models.lm.decode.guidance import Guidance, favor_information, mix_with_assistant
from bench.models.lm.decode.item_search import search_titles
from bench.models.lm.decode.trie import Trie, build_trie
from bench.models.lm.devices import compute_threads
from bench.models.lm.train.information_gain import (
    compute_entropies,
    compute_gains,
    compute_probabilities,
    scale_among_siblings,
)
from bench.plan.language_stages import DecodingConfig

A, B, C, D, E, F, END = range(7)
TITLES = [[A, B, END], [A, C, END], [A, C, D, END], [E, F, END]]
COUNTS = np.array([4, 2, 1, 1])
TOY: Table = {
    (): {A: 0.7, E: 0.3},
    (A,): {B: 0.5, C: 0.5},
    (A, B): {END: 1},
    (A, C): {END: 0.6, D: 0.4},
    (A, C, D): {END: 1},
    (E,): {F: 1},
    (E, F): {END: 1},
}
SASREC = np.array([[0.1, 0.2, 0.3, 0.4]])
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with compute_threads(1), torch.inference_mode():
        yield


def search(
    state: Tables, trie: Trie, guidance: Guidance | None = None, **settings: Any
) -> TitleLists:
    num_titles = settings.pop("num_titles", None)
    return constrained_beam_search(
        state,
        len(state.tables),
        trie,
        guidance or Guidance(),
        DecodingConfig(**settings),
        num_titles=num_titles,
    )


def searched(
    prompts: list[list[int]], trie: Trie, config: DecodingConfig, divisor: int = 1
) -> TitleLists:
    return search_titles(
        tiny_llama(), prompts, trie, lambda rows: Guidance(), config, divisor=divisor
    )


def toy(guidance: Guidance | None = None, **settings: float) -> list[float]:
    """Scores of the four items of the toy catalog."""
    trie = build_trie(TITLES)
    found = search(Tables([TOY]), trie, guidance, num_beams=4, **settings)
    assert found.certified.all()
    assert (np.diff(found.scores[0]) <= 0).all()
    scores = dict(zip(found.leaves[0].tolist(), found.scores[0].tolist(), strict=True))
    return [scores[leaf] for leaf in trie.leaf_of_item.tolist()]


def informed(
    alpha: float, trie: Trie | None = None, counts: NDArray[np.int64] = COUNTS
) -> Guidance:
    trie = build_trie(TITLES) if trie is None else trie
    entropy = compute_entropies(trie, compute_probabilities(trie, counts))
    return favor_information(scale_among_siblings(trie, compute_gains(trie, entropy)), alpha)


def test_sums_of_log_probabilities() -> None:
    assert toy() == pytest.approx([-1.049822, -1.560648, -1.966113, -1.203973], abs=1e-6)


def test_means_favor_the_title_with_a_ghost_token() -> None:
    found = toy(length_penalty=1)
    assert found == pytest.approx([-0.349941, -0.520216, -0.491528, -0.401324], abs=1e-6)


def test_the_assistant() -> None:
    half = mix_with_assistant(build_trie(TITLES), SASREC, 0.5)
    assert toy(half) == pytest.approx([-1.676204, -1.585043, -1.585043, -1.060132], abs=1e-6)


@pytest.mark.parametrize("weight", [0, 0.3, 0.9])
def test_the_assistants_steps_telescope(weight: float) -> None:
    plain = np.array(toy())
    mixed = toy(mix_with_assistant(build_trie(TITLES), SASREC, weight))
    assert mixed == pytest.approx(weight * plain + (1 - weight) * np.log(SASREC[0]), abs=1e-9)


def test_an_assistant_that_knows_nothing_below_a_node_is_undecided_there() -> None:
    trie = build_trie(TITLES)
    children = trie.children(torch.from_numpy(trie.follow([[A]])[:1]), 2)[1][0]
    lost = mix_with_assistant(trie, np.array([[0, 0, 0, 1.0]]), 0)
    steps = lost.steps(trie, torch.zeros_like(children), children, torch.zeros(2))
    assert steps.tolist() == pytest.approx([math.log(0.5)] * 2)


@pytest.mark.parametrize("kind", ["plain", "gain", "assistant"])
def test_what_is_impossible_stays_so(kind: str) -> None:
    trie = build_trie(TITLES)
    guidance = {
        "plain": Guidance(),
        "gain": informed(1),
        "assistant": mix_with_assistant(trie, SASREC, 0),
    }
    nodes = torch.arange(1, trie.num_nodes)
    never = torch.full(nodes.shape, -math.inf)
    assert guidance[kind].steps(trie, torch.zeros_like(nodes), nodes, never).isneginf().all()


@given(st.lists(st.floats(-200, 200, width=32), min_size=2, max_size=6))
def test_no_log_probability_is_above_0(logits: list[float]) -> None:
    every = torch.arange(len(logits))
    logp = token_log_probabilities(torch.tensor([logits]), torch.zeros_like(every), every, 1.0)
    assert (logp <= 0).all()
    assert logp.exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("penalty", [0, 1])
def test_weights_that_change_nothing(penalty: float) -> None:
    plain = toy(length_penalty=penalty)
    assert toy(mix_with_assistant(build_trie(TITLES), SASREC, 1), length_penalty=penalty) == plain
    assert toy(informed(0), length_penalty=penalty) == plain


def test_information_gain() -> None:
    expected = [-0.911193, -1.560648, -1.782855, -0.963178]
    assert toy(informed(0.2)) == pytest.approx(expected, abs=1e-6)
    means = [-0.303731, -0.520216, -0.445714, -0.321059]
    assert toy(informed(0.2), length_penalty=1) == pytest.approx(means, abs=1e-6)


def test_temperature_divides_logits() -> None:
    def softened(*shares: float) -> float:
        return shares[0] ** 0.5 / sum(share**0.5 for share in shares)

    last = math.log(softened(0.3, 0.7))
    first = math.log(softened(0.7, 0.3) * softened(0.5, 0.5))
    found = toy(temperature=2)
    assert [found[0], found[3]] == pytest.approx([first, last], abs=1e-6)


def test_mass_on_impossible_tokens_is_lost() -> None:
    trie = build_trie([[A, END], [B, END]])
    table = {(): {A: 0.1, B: 0.2, C: 0.7}, (A,): {END: 1}, (B,): {END: 0.25, D: 0.75}}
    found = search(Tables([table]), trie, num_beams=2)
    assert found.leaves.tolist() == [[0, 1]]
    assert np.exp(found.scores) == pytest.approx(np.array([[0.1, 0.05]]))


def deceptive(num: int) -> tuple[list[list[int]], Table]:
    """Many prefixes that look better at first than the one that leads to the best title."""
    lures = range(1, num + 1)
    titles = [*([lure, 30, 0] for lure in lures), [20, 30, 0]]
    table: dict[tuple[int, ...], dict[int, float]] = {
        (): {**dict.fromkeys(lures, 0.9 / num), 20: 0.1 * 0.9 / num, 39: 0.1 - 0.09 / num}
    }
    for first in (*lures, 20):
        good = 1.0 if first == 20 else 0.01
        table[first,] = {30: good, **({} if first == 20 else {39: 0.99})}
        table[first, 30] = {0: 1.0}
    return titles, table


def test_ten_beams_fail_where_twenty_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    titles, table = deceptive(12)
    trie = build_trie(titles)
    best = int(trie.leaf_of_item[12])
    ten = search(Tables([table]), trie, num_beams=10)
    assert best not in ten.leaves
    assert not ten.certified.any()
    monkeypatch.setattr(item_search, "GenerationState", lambda model, prompts: Tables([table]))
    widened = searched([[0]], trie, DecodingConfig(num_beams=10, max_num_beams=20))
    assert widened.leaves[0, 0] == best
    assert (widened.certified.tolist(), widened.widths.tolist()) == ([True], [20])


def test_widening_ends_at_its_limit_and_leaves_certified_rows_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles, table = deceptive(12)
    tables = ({**table, (): {20: 1.0}}, table)
    batches: list[list[list[int]]] = []

    def start(model: nn.Module, prompts: list[list[int]]) -> Tables:
        batches.append(prompts)
        return Tables([tables[number] for (number,) in prompts])

    monkeypatch.setattr(item_search, "GenerationState", start)
    config = DecodingConfig(num_beams=2, max_num_beams=5)
    found = searched([[0], [1]], build_trie(titles), config)
    assert batches == [[[0], [1]], [[1]], [[1]]]
    assert found.certified.tolist() == [True, False]
    assert found.widths.tolist() == [2, 5]


def test_prefixes_that_can_better_nothing_are_not_continued() -> None:
    titles = [[A, END], [B, C, END], [B, D, END]]
    table: Table = {(): {A: 0.9, B: 0.1}, (A,): {END: 1}, (B,): {C: 0.5, D: 0.5}}
    model = Tables([table])
    found = search(model, build_trie(titles), num_beams=3, num_titles=1)
    assert (found.leaves.tolist(), found.certified.tolist()) == ([[0]], [True])
    assert model.widths == [2]


@pytest.mark.parametrize("penalty", [0, 1])
def test_ties_go_to_the_smaller_item_position(penalty: float) -> None:
    titles = [[4, 0], [2, 0], [3, 0], [1, 0]]
    table = {(): dict.fromkeys((1, 2, 3, 4), 0.25), **{(t,): {0: 1.0} for t in (1, 2, 3, 4)}}
    trie = build_trie(titles)
    for beams in (2, 4):
        settings = {"num_beams": beams, "num_titles": 2, "length_penalty": penalty}
        found = search(Tables([table]), trie, **settings)
        assert found.leaves[0].tolist() == trie.leaf_of_item[:2].tolist()
        # Two beams never learn that what they dropped is no better than what they kept.
        assert found.certified.tolist() == [beams == 4]


def test_fewer_titles_than_places() -> None:
    found = search(Tables([TOY]), build_trie(TITLES), num_beams=7)
    assert (found.leaves[0, 4:] == -1).all()
    assert np.isneginf(found.scores[0, 4:]).all()
    assert found.certified.all()
    nothing = search(Tables([TOY] * 2), build_trie([]), num_beams=3)
    assert nothing.leaves.tolist() == [[-1] * 3] * 2


def test_impossible_titles_are_not_returned() -> None:
    table = {**TOY, (): {A: 1.0}}
    for guidance in (Guidance(), informed(1), mix_with_assistant(build_trie(TITLES), SASREC, 0)):
        found = search(Tables([table]), build_trie(TITLES), guidance, num_beams=4)
        assert sorted(found.leaves[0].tolist()) == [-1, 0, 1, 2]
        assert not np.isnan(found.scores).any()


tokens = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@st.composite
def catalogs(draw: st.DrawFn) -> tuple[list[list[int]], Table, int]:
    titles = draw(st.lists(tokens, min_size=1, max_size=12, unique_by=tuple))
    eos = draw(st.booleans())
    titles = [[*title, 0] if eos else title for title in titles]
    prefixes = {tuple(title[:place]) for title in titles for place in range(len(title))}
    numbers = np.random.default_rng(draw(st.integers(0, 1000)))
    table = {
        prefix: dict(enumerate(numbers.dirichlet(np.full(5, 0.4)).tolist()))
        for prefix in sorted(prefixes)
    }
    return titles, table, draw(st.integers(1, 6))


def exact(titles: list[list[int]], table: Table, penalty: float) -> list[float]:
    return [
        sum(math.log(table[tuple(t[:n])][t[n]]) for n in range(len(t))) / len(t) ** penalty
        for t in titles
    ]


@settings(max_examples=60)
@given(catalogs(), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 4))
def test_certified_lists_are_the_best_titles(
    made: tuple[list[list[int]], Table, int], penalty: float, beams: int
) -> None:
    titles, table, num = made
    trie = build_trie(titles)
    scores = exact(titles, table, penalty)
    expected = sorted(range(len(titles)), key=lambda item: -scores[item])[:num]
    for num_beams in (64, beams):
        settings = {"num_beams": num_beams, "num_titles": num, "length_penalty": penalty}
        found = search(Tables([table]), trie, **settings)
        if num_beams == 64:
            assert found.certified.all()
        if found.certified.all():
            items = trie.items[found.leaves[0][: len(expected)]].tolist()
            assert [scores[item] for item in items] == pytest.approx(
                [scores[item] for item in expected], abs=1e-4
            )


@pytest.mark.parametrize(("penalty", "temperature"), [(0, 1), (1, 1), (0, 1.5)])
def test_a_language_model_is_searched_as_by_brute_force(penalty: float, temperature: float) -> None:
    titles, prompts = made_up_titles(60), made_up_prompts(7)
    trie = build_trie(titles)
    brute = each_alone(tiny_llama(), prompts, titles, temperature)
    brute /= np.array([len(title) for title in titles]) ** penalty
    config = DecodingConfig(
        num_beams=10, max_num_beams=1280, length_penalty=penalty, temperature=temperature
    )
    found = searched(prompts, trie, config, divisor=512 // 30)
    assert found.certified.all()
    assert (found.widths > 10).any()
    of_leaf = np.array([brute[:, trie.items[start]] for start in trie.item_starts[:-1]]).T
    best = -np.sort(-of_leaf, axis=1)[:, :10]
    np.testing.assert_allclose(found.scores, best, atol=1e-4)
    rows = np.arange(len(prompts))[:, None]
    np.testing.assert_allclose(of_leaf[rows, found.leaves], best, atol=1e-4)


def test_batches_do_not_matter() -> None:
    trie, prompts = build_trie(made_up_titles(80)), made_up_prompts(9)
    one = searched(prompts, trie, DecodingConfig(num_beams=5), divisor=512)
    together = searched(prompts, trie, DecodingConfig(num_beams=5))
    assert (one.leaves == together.leaves).all()
    np.testing.assert_allclose(one.scores, together.scores, atol=1e-4)


def test_the_model_may_know_more_tokens_than_titles_use() -> None:
    trie = build_trie([[VOCABULARY - 1, 0], [5, 0]])
    found = searched(made_up_prompts(2), trie, DecodingConfig(num_beams=2))
    assert sorted(found.leaves[0].tolist()) == [0, 1]
