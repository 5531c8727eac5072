"""Rank the catalog's titles by their probability under a language model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from bench.data import prepared
from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.hashing import Job, Plain
from bench.metrics.writing import first_word, new_share, top_share
from bench.models.lm.decode.constrained_beam import TitleLists
from bench.models.lm.decode.guidance import Guidance, favor_information, mix_with_assistant
from bench.models.lm.decode.item_search import rank_items, score_all_titles, search_titles
from bench.models.lm.decode.trie import Trie, build_trie
from bench.models.lm.devices import compute_threads
from bench.models.lm.tokenization import encode_prompts, encode_responses, history_titles
from bench.models.lm.train.information_gain import (
    compute_entropies,
    compute_gains,
    compute_probabilities,
    count_targets,
    mean_entropy_by_step,
    scale_among_siblings,
    zero_gain_fraction,
)
from bench.models.lm.tuned_model import load
from bench.models.seqrec.checkpoint import Scorer, load_scorer
from bench.plan.language_stages import DecodingConfig
from bench.results.ranking_file import write_ranking

DECIMALS = 6
SEARCHES = {"beam": search_titles, "exhaustive": score_all_titles}


def run(job: Job, config: DecodingConfig, inputs: Mapping[str, Path]) -> None:
    """Write the ranking of the test cases.

    After running out of memory the batches are smaller; the lists are the same up to rounding.

    Raises:
        BenchError: Two kinds of guidance exclude each other, a title does not fit into the context,
            or no title is left.
    """
    if config.igd_alpha and "oracle" in inputs:
        raise BenchError(
            "Information gain and SASRec cannot guide the same search.", "Set one of them only."
        )
    source = prepared.load(inputs["data"])
    catalog, windows = source.catalog, source.windows(prepared.load_rows(inputs["cases"]))
    train_targets = source.windows(prepared.load_rows(inputs["train"])).targets
    counts_I = count_targets(train_targets, len(catalog))
    policy = load(inputs["backbone"], start=inputs.get("start"), **config.model.weights)
    responses = encode_responses(policy.tokenizer, catalog.titles, eos=config.append_eos)
    trie = build_trie(responses, source.candidates(inputs))
    probabilities_U = compute_probabilities(trie, counts_I, prior=config.prior)
    entropies_N = compute_entropies(trie, probabilities_U, entropy=config.entropy)
    if "oracle" in inputs:
        score = load_scorer(inputs["oracle"], catalog)
        guidance = _guide_by_mixture(trie, score, windows, config.model_weight)
    else:
        guidance = _guide_by_information_gain(trie, entropies_N, config.igd_alpha)
    prompts, _ = encode_prompts(
        policy.tokenizer,
        history_titles(windows, catalog),
        nouns=config.nouns,
        max_length=_prompt_length(config.model.context, trie),
    )
    search, divisor = SEARCHES[config.search], job.micro_batch_divisor
    with compute_threads(config.model.threads), policy.merged():
        lists = search(policy.model, prompts, trie, guidance, config, divisor=divisor)
    num_ranks = min(config.depth, len(catalog))
    ranking = rank_items(lists, trie, num_ranks=num_ranks)
    write_ranking(ranking, job.out)
    job.metadata.update(_search_metadata(lists, trie))
    job.metadata["zero_gain_share"] = round(zero_gain_fraction(trie, counts_I), DECIMALS)
    job.metadata.update(_entropy_metadata(trie, entropies_N, lists, windows))
    job.metadata.update(_first_word_metadata(ranking, catalog))


def _guide_by_information_gain(
    trie: Trie, entropies_N: NDArray[np.float64], alpha: float
) -> Callable[[NDArray[np.int64]], Guidance]:
    guidance = favor_information(
        scale_among_siblings(trie, compute_gains(trie, entropies_N)), alpha
    )
    return lambda rows: guidance if alpha else Guidance()


def _guide_by_mixture(
    trie: Trie, score: Scorer, windows: Windows, weight: float
) -> Callable[[NDArray[np.int64]], Guidance]:
    """Mix the policy with SASRec, which scores the test cases batch by batch."""

    def guide(rows: NDArray[np.int64]) -> Guidance:
        scores_BI = score(windows.histories[rows]).astype(np.float64)
        return mix_with_assistant(trie, softmax(scores_BI, axis=1), weight)

    return guide


def _prompt_length(context: int, trie: Trie) -> int:
    """Return the maximum number of tokens of a prompt."""
    if context <= trie.depth:
        raise BenchError(
            f"The longest title has {trie.depth} tokens, and the context is {context}.",
            "Raise `context` in the model's card.",
        )
    return context - trie.depth


def _search_metadata(lists: TitleLists, trie: Trie) -> dict[str, Plain]:
    widths = Counter(lists.widths.tolist())
    return {
        "cases": len(lists.leaves),
        "titles": trie.num_leaves,
        "nodes": trie.num_nodes,
        "certified": round(float(lists.certified.mean()), DECIMALS),
        "widths": {str(width): widths[width] for width in sorted(widths)},
    }


def _entropy_metadata(
    trie: Trie, entropies_N: NDArray[np.float64], lists: TitleLists, windows: Windows
) -> dict[str, Plain]:
    """Return the mean entropy after each token of the listed titles and of the targets."""
    targets = windows.targets[windows.targets >= 0]
    leaves = {"found": lists.leaves, "true": trie.leaf_of_item.numpy()[targets]}
    means = {name: mean_entropy_by_step(trie, entropies_N, some) for name, some in leaves.items()}
    return {
        f"entropy_by_step_{name}": [round(mean, DECIMALS) for mean in of_steps]
        for name, of_steps in means.items()
    }


def _first_word_metadata(ranking: Ranking, catalog: Catalog) -> dict[str, Plain]:
    """Return how often listed titles share their first word."""
    words = [first_word(catalog.titles[item]) for item in ranking.items[ranking.items >= 0]]
    if not words:
        return {}
    return {
        "first_word_top": round(top_share(words), DECIMALS),
        "first_word_repeated": round(1 - new_share(words), DECIMALS),
    }
