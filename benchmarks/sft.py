"""How long an epoch of supervised fine-tuning takes, against TRL's SFTTrainer left to its defaults.

32 rows of 235 prompt and 15 response tokens on average (SPRec's Goodreads), a random Llama of 6
layers and width 256 in float32, batches of 16. The peer takes them as 4 x 4, as the papers' scripts
do, with TRL's own collator and loss and its gradient checkpointing; ours takes 1 x 16. Both take
the same rows in each step, not grouped by length, run in this process and must agree on every
step's loss. Prints one line: CPU seconds of each (the fastest
of two runs, with other work on the machine left out) and their ratio.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback
from trl.trainer.sft_config import SFTConfig as SFTArguments
from trl.trainer.sft_trainer import SFTTrainer

from bench.hashing import derive_seed
from bench.models.lm.train.collate import SFTSamples
from bench.models.lm.train.sft_trainer import fine_tune
from bench.models.lm.train.trainer_setup import EpochOrder, StepLog, isolated, training_arguments
from bench.plan.language_stages import SFTConfig
from bench.plan.types import ModelSpec
from datasets import Dataset, disable_progress_bars

os.environ["CI"] = "1"  # TRL reports its use to the hub otherwise

ROWS, BATCH, PROMPT, RESPONSE = 32, 16, 235, 15
LAYERS, WIDTH, VOCABULARY = 6, 256, 4_096
REPEATS, THREADS = 2, 2
CONFIG = SFTConfig(
    model=ModelSpec(threads=THREADS),
    num_train_epochs=1,
    learning_rate=1e-4,
    batch_size=BATCH,
    warmup_steps=0,
    group_by_length=False,
)
TOKENIZER = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(WordLevel({"<pad>": 0, "</s>": 1}, unk_token="<pad>")),
    pad_token="<pad>",
    eos_token="</s>",
)


def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config)


def make_samples() -> SFTSamples:
    numbers = np.random.default_rng(0)

    def ids(mean: int) -> list[list[int]]:
        lengths = numbers.integers(mean * 4 // 5, mean * 6 // 5 + 1, size=ROWS)
        return [numbers.integers(2, VOCABULARY, size=length).tolist() for length in lengths]

    return SFTSamples(prompts=ids(PROMPT), responses=ids(RESPONSE))


def train_ours(samples: SFTSamples) -> list[float]:
    metrics = fine_tune(llama(), TOKENIZER, samples, CONFIG)
    return list(metrics["loss_by_step"])  # type: ignore[arg-type]


def train_trl(samples: SFTSamples) -> list[float]:
    """Train with TRL's defaults, except for optimizer, rates, order and dtype."""
    examples = [
        {"input_ids": row["input_ids"], "labels": row["labels"]} for row in samples.to_examples()
    ]
    with TemporaryDirectory() as folder, isolated(0, THREADS):
        return _train_trl(examples, folder)


def _train_trl(examples: list[dict[str, list[int]]], folder: str) -> list[float]:
    config = replace(CONFIG, seed=derive_seed("sft", CONFIG.seed))
    settings = training_arguments(config, num_samples=ROWS, divisor=4, folder=folder)
    left_to_trl = ("activation_checkpointing", "gradient_checkpointing", "remove_unused_columns")
    shared = {name: value for name, value in settings.items() if not name.startswith(left_to_trl)}
    log = StepLog()
    trainer = SFTTrainer(
        model=llama(),
        args=SFTArguments(**shared),
        train_dataset=Dataset.from_list(examples),
        processing_class=TOKENIZER,
        callbacks=[log],
    )
    lengths = [len(example["input_ids"]) for example in examples]
    vars(trainer)["_get_train_sampler"] = lambda *_: EpochOrder(lengths, config)
    assert trainer.args.gradient_checkpointing
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [step["loss"] for step in log.steps]


def measure(
    train: Callable[[SFTSamples], list[float]], samples: SFTSamples
) -> tuple[float, list[float]]:
    start = time.process_time()
    losses = train(samples)
    return time.process_time() - start, losses


def main() -> None:
    warnings.simplefilter("ignore")
    disable_progress_bars()
    samples = make_samples()
    pairs = [(measure(train_trl, samples), measure(train_ours, samples)) for _ in range(REPEATS)]
    for (_, expected), (_, losses) in pairs:
        np.testing.assert_allclose(losses, expected, atol=1e-4)
    peer, own = min(trl[0] for trl, _ in pairs), min(ours[0] for _, ours in pairs)
    print(
        f"fine-tuning on {ROWS} rows: {own:.2f} CPU s, SFTTrainer's defaults {peer:.2f} s, "
        f"ratio {peer / own:.1f}; losses {losses} and {expected}"
    )


if __name__ == "__main__":
    main()
