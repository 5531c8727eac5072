"""How much quicker titles are written than with the settings of the papers' scripts.

200 titles by a small Llama (4 layers, width 128) with LoRA adapters on all linear layers, greedy,
float32, one thread. Ours merges the adapters, sorts by length, puts as many prompts together as
fit, and stops at the closing quote. The papers' way is transformers' `generate`: 128 new tokens,
adapters beside the base weights, batches of 32 in the order of the rows.

Both models are trained for some seconds, so that they close their quotes: one without an
end-of-sequence token, as SPRec's program trains, so that `generate` always writes all 128 tokens;
one with it, so that `generate` stops when the last row of a batch has ended. Each way runs in this
process, the texts must be equal up to the closing quote, and one line for each model is printed.

    python benchmarks/generation.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, LlamaForCausalLM
from transformers.utils import logging

from bench.models.lm.decode.decoding import cut_after_quotes, generate_texts, title_streams
from bench.models.lm.tokenization import encode_prompts, encode_responses
from bench.plan.language_stages import GenerationConfig
from bench.stages.build import build_model

NUM_TITLES, NUM_CASES, HISTORY = 24, 200, 10
SHORT_STEPS, LONG_STEPS, BATCH, LEARNING_RATE = 250, 40, 8, 3e-3
THEIR_TOKENS, THEIR_BATCH, OUR_TOKENS = 128, 32, 32
NOUNS = ("movie", "movies")
SIZES = {"layers": 4, "width": 128, "heads": 4, "intermediate": 352, "vocabulary": 1024}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def made_up_titles(numbers: np.random.Generator) -> list[str]:
    """Draw titles of two to six words, each word of two to four syllables."""
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = ["".join(numbers.choice(syllables, numbers.integers(2, 5))) for _ in range(60)]
    return [
        " ".join(numbers.choice(words, numbers.integers(2, 7))).title() for _ in range(NUM_TITLES)
    ]


def trained(model: nn.Module, rows: list[tuple[list[int], list[int]]], rate: float) -> None:
    """Fit the responses, AdamW, linear decay; each step a batch of rows."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0)
    steps = range(0, len(rows), BATCH)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=len(steps))
    for start in steps:
        batch = rows[start : start + BATCH]
        ids = nn.utils.rnn.pad_sequence([torch.tensor(p + r) for p, r in batch], batch_first=True)
        labels = nn.utils.rnn.pad_sequence(
            [torch.tensor([-100] * len(p) + r) for p, r in batch], True, -100
        )
        logits = model(input_ids=ids).logits[:, :-1]
        cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten()).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay.step()


def theirs(model: nn.Module, tokenizer, prompts: list[list[int]]) -> list[str]:
    texts = []
    for start in range(0, len(prompts), THEIR_BATCH):
        batch = tokenizer.pad(
            {"input_ids": prompts[start : start + THEIR_BATCH]}, return_tensors="pt"
        )
        with torch.no_grad():
            ids = model.generate(**batch, do_sample=False, max_new_tokens=THEIR_TOKENS)
        new = ids[:, batch["input_ids"].shape[1] :]
        texts += tokenizer.batch_decode(new, skip_special_tokens=True)
    return texts


def ours(model: nn.Module, tokenizer, prompts: list[list[int]]) -> list[str]:
    # Merging and taking it back is part of the work.
    model.merge_adapter()
    config = GenerationConfig(max_new_tokens=OUR_TOKENS)
    streams = title_streams(len(prompts), config)
    generated = generate_texts(model, tokenizer, prompts, config, streams=streams, titles=True)
    model.unmerge_adapter()
    return [row.texts[0] for row in generated]


def fastest(work: Callable[[], list[str]], repeats: int) -> tuple[float, list[str]]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        texts = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), texts


def compared(folder: Path, titles: list[str], *, eos: bool) -> str:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = "left"
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    numbers = np.random.default_rng(1)
    num_short, num_rows = SHORT_STEPS * BATCH, (SHORT_STEPS + LONG_STEPS) * BATCH + NUM_CASES
    lengths = numbers.integers(HISTORY // 2, HISTORY + 1, num_rows)
    lengths[:num_short] = 1  # most of the training on short prompts, for it takes long otherwise
    seen = [numbers.integers(NUM_TITLES, size=length) for length in lengths]
    histories = [[titles[item] for item in items] for items in seen]
    # The last title decides the next one, so that there is something to write but one title.
    targets = [titles[(items[-1] + 1) % NUM_TITLES] for items in seen]
    prompts, _ = encode_prompts(tokenizer, histories, nouns=NOUNS, max_length=480)
    responses = encode_responses(tokenizer, targets, eos=eos)
    rows = list(zip(prompts, responses, strict=True))[:-NUM_CASES]
    trained(model, rows[:num_short], LEARNING_RATE)
    adapter = LoraConfig(r=16, lora_alpha=32, target_modules=LINEAR, init_lora_weights=True)
    model = get_peft_model(model, adapter)
    trained(model, rows[num_short:], LEARNING_RATE)
    model.eval()
    cases = prompts[-NUM_CASES:]
    seconds, texts = fastest(lambda: ours(model, tokenizer, cases), 3)
    their_seconds, expected = fastest(lambda: theirs(model, tokenizer, cases), 2)
    closed = sum(text.count('"') == 2 for text in texts)
    assert closed > 0.95 * NUM_CASES, f"only {closed} texts close their quotes"
    equal = [a == cut_after_quotes(b) for a, b in zip(texts, expected, strict=True)]
    assert all(equal[row] for row in range(NUM_CASES) if texts[row].count('"') == 2)
    return (
        f"{their_seconds / seconds:.1f} times as quick, "
        f"{'with' if eos else 'without'} an end token: {NUM_CASES} titles in {seconds:.2f} s, "
        f"the papers' way {their_seconds:.2f} s; {closed} closed, all of those equal, "
        f"{len(set(texts))} distinct."
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    titles = made_up_titles(np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_model(folder, titles=titles, nouns=NOUNS, architecture=SIZES, context=640, seed=0)
        for eos in (False, True):
            print(compared(folder, titles, eos=eos), flush=True)


if __name__ == "__main__":
    main()
