"""Rank the catalog's titles by their probability under a language model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
from bench.models.lm.decode.constrained_beam import Found, Search
from bench.models.lm.decode.guidance import Guidance, assisted, igd_guidance
from bench.models.lm.decode.item_search import Question, by_all_items, by_beams, item_ranking
from bench.models.lm.decode.trie import Trie, build_trie
from bench.models.lm.threads import compute_threads
from bench.models.lm.tokenization import encode_prompts, encode_responses, history_titles
from bench.models.lm.train.information_gain import (
    entropies,
    entropy_by_step,
    gains,
    item_counts,
    probabilities,
    sibling_scale,
    zero_gain_share,
)
from bench.models.lm.tuned_model import load
from bench.models.seqrec import sasrec
from bench.models.seqrec.rows import Scorer
from bench.plan.decoding_stages import DecodingConfig
from bench.results.ranking_file import write_ranking

DECIMALS = 6
SEARCHES = {"beam": by_beams, "exhaustive": by_all_items}


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
    source = prepared.shared(inputs["data"])
    catalog, windows = source.catalog, source.windows(prepared.shared_rows(inputs["cases"]))
    train_targets = source.windows(prepared.shared_rows(inputs["train"])).targets
    counts_I = item_counts(train_targets, len(catalog))
    policy = load(inputs["backbone"], start=inputs.get("start"), **config.model.weights)
    trie = _build_trie(policy.tokenizer, catalog, config, counts_I)
    entropies_N = entropies(
        trie, probabilities(trie, counts_I, prior=config.prior), entropy=config.entropy
    )
    if "oracle" in inputs:
        score = sasrec.scorer(inputs["oracle"], catalog)
        guidance = _guide_by_mixture(trie, score, windows, config.model_weight)
    else:
        guidance = _guide_by_information_gain(trie, entropies_N, config.igd_alpha)
    question = Question(
        prompts=encode_prompts(
            policy.tokenizer,
            history_titles(windows, catalog),
            nouns=config.nouns,
            room=_prompt_length(config.model.context, trie),
        ),
        trie=trie,
        guidance=guidance,
        search=Search(
            beams=config.num_beams,
            num=config.num_beams,
            widest=config.max_num_beams or config.num_beams,
            length_penalty=config.length_penalty,
            temperature=config.temperature,
        ),
    )
    search = SEARCHES[config.search]
    with compute_threads(config.model.threads), policy.merged():
        found = search(policy.model, policy.device, question, divisor=job.micro_batch_divisor)
    num_ranks = min(config.depth, len(catalog))
    ranking = item_ranking(found, trie, num=config.num_beams, places=num_ranks)
    write_ranking(ranking, job.out)
    job.facts.update(_search_facts(found, trie))
    job.facts["zero_gain_share"] = round(zero_gain_share(trie, counts_I), DECIMALS)
    job.facts.update(_entropy_facts(trie, entropies_N, found, windows))
    job.facts.update(_first_word_facts(ranking, catalog))


def _build_trie(
    tokenizer: Any, catalog: Catalog, config: DecodingConfig, counts_I: NDArray[np.int64]
) -> Trie:
    responses = encode_responses(tokenizer, catalog.titles, eos=config.append_eos)
    trie = build_trie(responses, counts_I > 0 if config.trained_only else None)
    if not trie.num_leaves:
        raise BenchError(
            "No title can be recommended.", "Set trained_only = false, or use more training rows."
        )
    return trie


def _guide_by_information_gain(
    trie: Trie, entropies_N: NDArray[np.float64], alpha: float
) -> Callable[[NDArray[np.int64]], Guidance]:
    guidance = igd_guidance(sibling_scale(trie, gains(trie, entropies_N)), alpha)
    return lambda rows: guidance if alpha else Guidance()


def _guide_by_mixture(
    trie: Trie, score: Scorer, windows: Windows, weight: float
) -> Callable[[NDArray[np.int64]], Guidance]:
    """Mix the policy with SASRec, which scores the test cases batch by batch."""

    def guide(rows: NDArray[np.int64]) -> Guidance:
        scores_BI = score(windows.histories[rows]).astype(np.float64)
        return assisted(trie, softmax(scores_BI, axis=1), weight)

    return guide


def _prompt_length(context: int, trie: Trie) -> int:
    """Return the maximum number of tokens of a prompt."""
    if context <= trie.depth:
        raise BenchError(
            f"The longest title has {trie.depth} tokens, and the context is {context}.",
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


def _entropy_facts(
    trie: Trie, entropies_N: NDArray[np.float64], found: Found, windows: Windows
) -> dict[str, Plain]:
    """Return the mean entropy after each token of the listed titles and of the targets."""
    targets = windows.targets[windows.targets >= 0]
    leaves = {"found": found.leaves, "true": trie.leaf_of_item.numpy()[targets]}
    means = {name: entropy_by_step(trie, entropies_N, chosen) for name, chosen in leaves.items()}
    return {
        f"entropy_by_step_{name}": [round(mean, DECIMALS) for mean in of_steps]
        for name, of_steps in means.items()
    }


def _first_word_facts(ranking: Ranking, catalog: Catalog) -> dict[str, Plain]:
    """Return how often listed titles share their first word."""
    words = [first_word(catalog.titles[item]) for item in ranking.items[ranking.items >= 0]]
    if not words:
        return {}
    return {
        "first_word_top": round(top_share(words), DECIMALS),
        "first_word_repeated": round(1 - new_share(words), DECIMALS),
    }
