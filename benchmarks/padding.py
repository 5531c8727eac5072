"""How much of a fine-tuning batch is padding: samples in random order, and grouped by length.

4,096 training rows of a data set, SPRec's prompts, a real tokenizer, batches of 16. With `nano`,
also the texts that it is pretrained on. Prints one line per kind of sample.

    python benchmarks/padding.py ml-100k nano --data-dir DIR --store DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.config import plugins
from bench.config.request import DataOptions
from bench.models.lm.tokenization import encode_prompts, encode_responses, history_titles
from bench.models.lm.train.trainer_setup import EpochOrder
from bench.plan.language_stages import SFTConfig
from bench.runner.prepared_data import load_tokenizer, prepare_datasets
from bench.stages.pretrain import encode_histories, training_histories

ROWS, BATCH, CONTEXT = 4096, 16, 512


def padding(lengths: Sequence[int], *, group_by_length: bool) -> float:
    """Return the fraction of padding among the tokens of an epoch's batches."""
    order = EpochOrder(lengths, SFTConfig(batch_size=BATCH, group_by_length=group_by_length))
    sizes = np.array(lengths)[list(order)]
    batches = np.split(sizes, range(BATCH, len(sizes), BATCH))
    return 1 - sum(lengths) / sum(len(batch) * int(batch.max()) for batch in batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("model")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--store", type=Path, default=Path(".bench/store"))
    parsed = parser.parse_args()
    options = DataOptions(store=parsed.store, data_dir=parsed.data_dir)
    stage, data = prepare_datasets([parsed.dataset], options)[parsed.dataset]
    tokenizer = load_tokenizer(parsed.model, parsed.dataset, stage, options)
    rows = np.random.default_rng(0).permutation(data.sample_range("train"))[:ROWS]
    windows = data.windows(rows)
    windows = data.windows(rows[windows.targets >= 0])
    nouns = plugins.dataset_card(parsed.dataset).nouns
    prompts, _ = encode_prompts(
        tokenizer,
        history_titles(windows, data.catalog),
        nouns=(nouns.singular, nouns.plural),
        max_length=CONTEXT,
    )
    titles = [data.catalog.titles[item] for item in windows.targets]
    responses = encode_responses(tokenizer, titles, eos=True)
    pairs = zip(prompts, responses, strict=True)
    samples = {"prompt and response": [len(prompt) + len(response) for prompt, response in pairs]}
    if parsed.model == "nano":
        texts = encode_histories(tokenizer, list(training_histories(data)), max_tokens=256)
        samples["pretraining texts"] = [*map(len, texts)]
    for name, lengths in samples.items():
        random, grouped = (padding(lengths, group_by_length=each) for each in (False, True))
        print(
            f"{name}: {len(lengths)} of {np.mean(lengths):.0f} tokens on average; padding "
            f"{random:.1%} in random order, {grouped:.1%} grouped"
        )


if __name__ == "__main__":
    main()
