"""Rank by decoding: the titles that a language model finds likeliest, kept inside the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from bench.data import prepared
from bench.data.catalogue import Catalogue
from bench.data.windows import Windows
from bench.errors import BenchError, unknown
from bench.lm.constrained import Found, Search
from bench.lm.encoding import encode_prompts, encode_responses, history_titles
from bench.lm.guidance import Guidance, assisted, igd_guidance
from bench.lm.information import (
    entropies,
    entropy_by_step,
    gains,
    item_counts,
    probabilities,
    sibling_scale,
    zero_gain_share,
)
from bench.lm.item_search import Question, by_all_items, by_beams, item_ranking
from bench.lm.model import load
from bench.lm.threads import compute_threads
from bench.lm.trie import Trie, build_trie
from bench.metrics.ranking import Ranking
from bench.metrics.writing import first_word, new_share, top_share
from bench.rankings import write_ranking
from bench.records import Job, Plain
from bench.seqrec.checkpoint import load_scorer
from bench.seqrec.rows import Scorer

DECIMALS = 6
WAYS = {"beam": by_beams, "all": by_all_items}


def run(
    job: Job,
    *,
    beams: int,
    widest: int,
    exact: str,
    length_penalty: float,
    temperature: float,
    assistant: float,
    igd_alpha: float,
    entropy: str,
    prior: str,
    trained_only: bool,
    eos: bool,
    depth: int,
    tuning: Mapping[str, Any],
    dtype: str,
    quantisation: str,
    context: int,
    threads: int,
    nouns: Sequence[str],
    data: Path,
    cases: Path,
    train: Path,
    backbone: Path,
    start: Path | None = None,
    oracle: Path | None = None,
) -> None:
    """Write the ranking of the cases; `bench.plan.constrained.decode` says what the arguments mean.

    After an out-of-memory the batches are smaller; the lists are the same, rounding apart.

    Raises:
        BenchError: The settings are out of range or exclude each other, or no title is left.
    """
    search = Search(
        beams=beams,
        num=beams,
        widest=widest,
        length_penalty=length_penalty,
        temperature=temperature,
    )
    _check(exact, search, igd_alpha, oracle, depth)
    source = prepared.shared(data)
    catalogue, windows = source.catalogue, source.windows(prepared.shared_rows(cases))
    counts_I = item_counts(source.windows(prepared.shared_rows(train)).targets, len(catalogue))
    policy = load(backbone, start=start, tuning=tuning, dtype=dtype, quantisation=quantisation)
    trie = _trie(policy.tokenizer, catalogue, eos, counts_I > 0 if trained_only else None)
    shares_U = probabilities(trie, counts_I, prior=prior)
    entropies_N = entropies(trie, shares_U, entropy=entropy)
    if oracle is None:
        guidance = _informed(trie, entropies_N, igd_alpha)
    else:
        guidance = _assisted(trie, load_scorer(oracle, catalogue), windows, assistant)
    asked = Question(
        prompts=encode_prompts(
            policy.tokenizer,
            history_titles(windows, catalogue),
            nouns=nouns,
            room=_room(context, trie),
        ),
        trie=trie,
        guidance=guidance,
        search=search,
    )
    with compute_threads(threads), policy.merged():
        found = WAYS[exact](policy.model, policy.device, asked, divisor=job.micro_batch_divisor)
    ranking = item_ranking(found, trie, num=beams, places=min(depth, len(catalogue)))
    write_ranking(ranking, job.out)
    job.facts.update(_search_facts(found, trie))
    job.facts["zero_gain_share"] = round(zero_gain_share(trie, counts_I), DECIMALS)
    job.facts.update(_steps(trie, entropies_N, found, windows))
    job.facts.update(_first_words(ranking, catalogue))


def _check(exact: str, search: Search, igd_alpha: float, oracle: Path | None, depth: int) -> None:
    if exact not in WAYS:
        raise unknown("way to decode", exact, WAYS)
    if exact == "all" and search.widest != search.beams:
        raise BenchError("Scoring all items has no beams to widen.", "Leave `widest` out.")
    if igd_alpha and oracle is not None:
        raise BenchError(
            "Information gain and an assistant cannot guide one search.", "Choose one of them."
        )
    if depth < 1:
        raise BenchError(f"A ranking of {depth} places holds nothing.", "Give 1 or more.")


def _trie(
    tokenizer: Any, catalogue: Catalogue, eos: bool, kept_I: NDArray[np.bool_] | None
) -> Trie:
    trie = build_trie(encode_responses(tokenizer, catalogue.titles, eos=eos), kept_I)
    if not trie.num_leaves:
        raise BenchError(
            "No title is left to be recommended.", "Leave `trained_only` out, or take more rows."
        )
    return trie


def _informed(
    trie: Trie, entropies_N: NDArray[np.float64], alpha: float
) -> Callable[[NDArray[np.int64]], Guidance]:
    guidance = igd_guidance(sibling_scale(trie, gains(trie, entropies_N)), alpha)
    return lambda rows: guidance if alpha else Guidance()


def _assisted(
    trie: Trie, score: Scorer, windows: Windows, weight: float
) -> Callable[[NDArray[np.int64]], Guidance]:
    """Let the assistant score cases when their turn comes."""

    def mixed(rows: NDArray[np.int64]) -> Guidance:
        scores_BI = score(windows.histories[rows]).astype(np.float64)
        return assisted(trie, softmax(scores_BI, axis=1), weight)

    return mixed


def _room(context: int, trie: Trie) -> int:
    if context <= trie.depth:
        raise BenchError(
            f"The longest title has {trie.depth} tokens and the context {context}.",
            "Raise `context` in the model's card.",
        )
    return context - trie.depth


def _search_facts(found: Found, trie: Trie) -> dict[str, Plain]:
    widths = Counter(found.widths.tolist())
    return {
        "cases": len(found.leaves),
        "titles": trie.num_leaves,
        "nodes": trie.num_nodes,
        "certified": round(float(found.certified.mean()), DECIMALS),
        "widths": {str(width): widths[width] for width in sorted(widths)},
    }


def _steps(
    trie: Trie, entropies_N: NDArray[np.float64], found: Found, windows: Windows
) -> dict[str, Plain]:
    """Say how much is still open after each token of the listed and of the true titles."""
    targets = windows.targets[windows.targets >= 0]
    leaves = {"found": found.leaves, "true": trie.leaf_of_item.numpy()[targets]}
    means = {name: entropy_by_step(trie, entropies_N, chosen) for name, chosen in leaves.items()}
    return {
        f"entropy_by_step_{name}": [round(mean, DECIMALS) for mean in of_steps]
        for name, of_steps in means.items()
    }


def _first_words(ranking: Ranking, catalogue: Catalogue) -> dict[str, Plain]:
    """Say how alike the listed titles begin."""
    words = [first_word(catalogue.titles[item]) for item in ranking.items[ranking.items >= 0]]
    if not words:
        return {}
    return {
        "first_word_top": round(top_share(words), DECIMALS),
        "first_word_repeated": round(1 - new_share(words), DECIMALS),
    }
