"""Information gain: specs/llm-methods.md 4.1 and 5.3, numbers of (g), and 9.3."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.data.catalog import Catalog
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.models.lm.decode.trie import Trie, build_trie
from bench.models.lm.train.information_gain import (
    compute_entropies,
    compute_gains,
    compute_probabilities,
    count_targets,
    find_zero_gain,
    igd_weights,
    mean_entropy_by_step,
    scale_among_siblings,
    token_groups,
    weight_tokens,
    zero_gain_fraction,
)
from bench.models.lm.train.token_loss import HIGH_GAIN, LOW_GAIN, NEITHER, ZERO_GAIN

A, B, C, D, E, F, END = range(7)
TITLES = [[A, B, END], [A, C, END], [A, C, D, END], [E, F, END]]
COUNTS = np.array([4, 2, 1, 1])


def node(trie: Trie, *prefix: int) -> int:
    return int(trie.follow([prefix])[0, -1])


def toy() -> tuple[Trie, NDArray[np.float64]]:
    trie = build_trie(TITLES)
    return trie, compute_probabilities(trie, COUNTS)


def test_entropies_of_the_toy_catalog() -> None:
    trie, shares = toy()
    found = compute_entropies(trie, shares)
    assert found[0] == pytest.approx(1.213008, abs=1e-6)
    expected = {(A,): 0.953077, (E,): 0.259930, (A, B): 0.346574, (A, C): 0.606504}
    for prefix, value in expected.items():
        assert found[node(trie, *prefix)] == pytest.approx(value, abs=1e-6)


def test_gains_of_the_toy_catalog() -> None:
    trie, shares = toy()
    found = compute_gains(trie, compute_entropies(trie, shares))
    expected = {
        (A,): 0.259930,
        (E,): 0.953077,
        (A, B): 0.606504,
        (A, C): 0.346574,
        (A, B, END): 0,
        (A, C, END): 0.259930,
        (A, C, D): 0.346574,
        (A, C, D, END): 0,
        (E, F): 0,
        (E, F, END): 0,
    }
    assert len(expected) == trie.num_nodes - 1
    for prefix, value in expected.items():
        assert found[node(trie, *prefix)] == pytest.approx(value, abs=1e-6)


def test_gains_along_a_title_leave_its_own_term() -> None:
    trie, shares = toy()
    found = compute_entropies(trie, shares)
    along = trie.follow(TITLES)
    for path, title, share in zip(along, TITLES, (0.5, 0.25, 0.125, 0.125), strict=True):
        total = compute_gains(trie, found)[path[: len(title)]].sum()
        assert total == pytest.approx(found[0] + share * math.log(share))
    first = compute_gains(trie, found)[along[0, :3]].sum()
    assert first == pytest.approx(0.866434, abs=1e-6)


def test_a_uniform_prior_has_the_logarithm_of_the_number_of_titles() -> None:
    trie = build_trie(TITLES)
    found = compute_entropies(trie, compute_probabilities(trie, COUNTS, prior="uniform"))
    assert found[0] == pytest.approx(1.386294, abs=1e-6)


def test_conditional_entropy() -> None:
    trie, shares = toy()
    found = compute_gains(trie, compute_entropies(trie, shares, entropy="conditional"))
    assert found[node(trie, A)] == pytest.approx(0.257308, abs=1e-6)
    assert found[node(trie, E)] == pytest.approx(1.213008, abs=1e-6)


def test_gains_among_siblings_run_from_0_to_1() -> None:
    trie, shares = toy()
    found = scale_among_siblings(trie, compute_gains(trie, compute_entropies(trie, shares)))
    expected = {(A,): 0, (E,): 1, (A, B): 1, (A, C): 0, (A, C, END): 0, (A, C, D): 1}
    for prefix, value in expected.items():
        assert found[node(trie, *prefix)] == pytest.approx(value, abs=2e-6)
    assert found[node(trie, A, C, D)] < 1
    assert found[node(trie, E, F)] == 0


def test_training_weights_of_the_toy_catalog() -> None:
    found = weight_tokens(build_trie(TITLES), TITLES, beta=0.1)
    expected = [[1, 1, 0.1], [1, 1, 1], [1, 1, 1, 0.1], [1, 0.1, 0.1]]
    assert [weights.tolist() for weights in found] == expected


@pytest.mark.parametrize("strange", [[A, B, B], [A, C, D], [E, F, END, END], [B], [A, END, A, END]])
def test_a_response_that_is_no_title_has_beta_everywhere(strange: list[int]) -> None:
    (found,) = weight_tokens(build_trie(TITLES), [strange], beta=0.3)
    assert found.tolist() == [0.3] * len(strange)


def test_items_that_were_no_target_add_nothing_but_ways_on() -> None:
    counts = np.array([4, 0, 0, 1])
    whole = build_trie(TITLES)
    found = compute_entropies(whole, compute_probabilities(whole, counts))
    assert np.isfinite(found).all()
    assert compute_gains(whole, found)[node(whole, A, B)] == pytest.approx(0)
    # In the whole catalog "b" could have been "c"; among trained titles it could not.
    assert weight_tokens(whole, TITLES[:1], beta=0)[0].tolist() == [1, 1, 0]
    trained = build_trie(TITLES, counts > 0)
    assert weight_tokens(trained, TITLES[:1], beta=0)[0].tolist() == [1, 0, 0]
    expected = -0.8 * math.log(0.8) - 0.2 * math.log(0.2)
    for trie in (whole, trained):
        assert compute_entropies(trie, compute_probabilities(trie, counts))[0] == pytest.approx(
            expected
        )


def test_one_title_has_one_probability_however_many_items_have_it() -> None:
    trie = build_trie([*TITLES, TITLES[0]])
    found = compute_probabilities(trie, np.array([1, 2, 1, 1, 3]))
    assert found.tolist() == [0.5, 0.125, 0.25, 0.125]
    assert compute_probabilities(trie, np.zeros(5, int), prior="uniform").tolist() == [0.25] * 4


def test_counts_leave_unknown_targets_out() -> None:
    assert count_targets(np.array([2, -1, 0, 2]), 4).tolist() == [1, 0, 2, 0]
    with pytest.raises(BenchError, match="No item"):
        compute_probabilities(build_trie(TITLES), np.zeros(4, dtype=np.int64))


def test_a_title_inside_another_leaves_a_choice() -> None:
    trie = build_trie([[A, B], [A, B, C]])
    assert find_zero_gain(trie).tolist() == [False, True, True, False]


def test_zero_gain_share_counts_the_tokens_of_rows() -> None:
    # By hand: zero-gain tokens 1, 0, 1, 2 of 3, 3, 4, 3, in 4, 2, 1, 1 rows.
    trie = build_trie(TITLES)
    assert zero_gain_fraction(trie, COUNTS) == pytest.approx((4 + 1 + 2) / (12 + 6 + 4 + 3))
    assert zero_gain_fraction(trie, np.array([0, 5, 0, 0])) == 0


def test_entropy_by_step_is_a_mean_over_titles_that_go_on() -> None:
    trie, shares = toy()
    entropy = compute_entropies(trie, shares)
    leaves = trie.leaf_of_item.numpy()[np.array([0, 2, 2])]
    found = mean_entropy_by_step(trie, entropy, np.append(leaves, -1).reshape(2, 2))
    ac, end = 0.606504, 0.259930
    expected = [0.953077, (0.346574 + 2 * ac) / 3, (0.346574 + 2 * end) / 3, end]
    assert found == pytest.approx(expected, abs=1e-6)
    assert mean_entropy_by_step(trie, entropy, np.array([-1])) == []


titles = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=5).map(lambda tokens: [*tokens, 9]),
    min_size=1,
    max_size=12,
)


@given(titles, st.data())
def test_entropy_and_weights_agree_with_a_dictionary(
    responses: list[list[int]], data: st.DataObject
) -> None:
    trie = build_trie(responses)
    count = st.integers(0, 5)
    counts = np.array(data.draw(st.lists(count, min_size=len(responses), max_size=len(responses))))
    counts[0] += 1
    mass: dict[tuple[int, ...], float] = {}
    for response, number in zip(responses, counts, strict=True):
        mass[tuple(response)] = mass.get(tuple(response), 0) + number / counts.sum()
    found = compute_entropies(trie, compute_probabilities(trie, counts))
    for response, weights in zip(responses, weight_tokens(trie, responses, beta=0.5), strict=True):
        for place in range(len(response)):
            prefix = tuple(response[: place + 1])
            under = [p for title, p in mass.items() if title[: place + 1] == prefix]
            expected = sum(-p * math.log(p) for p in under if p)
            assert found[node(trie, *prefix)] == pytest.approx(expected, abs=1e-12)
            ways = {title[place] for title in mass if title[:place] == prefix[:-1]}
            assert weights[place] == (0.5 if len(ways) == 1 else 1)
    assert (compute_gains(trie, found) > -1e-12).all()


class Letters:
    """A tokenizer whose tokens are characters."""

    eos_token_id = 0

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        assert not add_special_tokens
        return {"input_ids": [[ord(letter) for letter in text] for text in texts]}


def rows(targets: list[int]) -> Windows:
    found = np.array(targets, dtype=np.int32)
    return Windows(users=found, histories=found[:, None], targets=found)


@pytest.mark.parametrize("eos", [True, False])
def test_weights_of_training_rows(eos: bool) -> None:
    names = ("ab", "ac", "ad", "zz")
    catalog = Catalog(ids=names, titles=names, categories=((),) * 4)
    windows = rows([1, 0, 1])
    responses = [[ord(letter) for letter in f'"{names[item]}"'] + [0] * eos for item in (1, 0, 1)]
    found = igd_weights(responses, windows, catalog, Letters(), beta=0.1)
    # Quote and "a" are shared by the trained titles, only the second letter tells them apart.
    assert [weights.tolist() for weights in found] == [[0.1, 0.1, 1, 0.1, *[0.1] * eos]] * 3
    plain = igd_weights(responses, windows, catalog, Letters(), beta=1)
    assert np.concatenate(plain).tolist() == [1] * sum(map(len, responses))


def test_groups_of_training_tokens() -> None:
    names = ("ab", "ac", "ad", "zz")
    catalog = Catalog(ids=names, titles=names, categories=((),) * 4)
    responses = [[ord(letter) for letter in f'"{name}"'] for name in ("ab", "ac", "xx")]
    found, threshold = token_groups(responses, rows([0, 1, 0]), catalog, Letters())
    # ab is the target of two rows in three: p ln p of ac remains if b is next, and vice versa.
    gains = [-1 / 3 * np.log(1 / 3), -2 / 3 * np.log(2 / 3)]
    assert threshold == pytest.approx(np.mean(gains))
    popular = [ZERO_GAIN, ZERO_GAIN, HIGH_GAIN, ZERO_GAIN]
    other = [ZERO_GAIN, ZERO_GAIN, LOW_GAIN, ZERO_GAIN]
    assert [groups.tolist() for groups in found] == [popular, other, [NEITHER] * 4]


def test_weighted_means_of_the_worked_losses() -> None:
    loss = np.array([0.2, 1.5, 0.1, 0.4])
    trie = build_trie([[0, 1, 3, 4], [0, 2, 3, 4], [0, 1, 5, 4]])
    for beta, expected in ((1, 0.55), (0.1, 0.754545), (0, 0.8)):
        (weights,) = weight_tokens(trie, [[0, 1, 3, 4]], beta=beta)
        assert (weights * loss).sum() / weights.sum() == pytest.approx(expected, abs=1e-6)


def test_no_rows_have_no_weights() -> None:
    catalog = Catalog(ids=("x",), titles=("x",), categories=((),))
    assert igd_weights([], rows([]), catalog, Letters(), beta=0.1) == []
