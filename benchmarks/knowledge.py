"""How much it saves that all answers to a question share its reading.

Questions of 400 tokens (30 titles with stars and a request), answers of 32 tokens (the budget
`nano`'s) and of 256 (the setting's default), 10 to a question, drawn as the methods draw them, one
thread: 10 draws to a question, against 10 times the question, both in full batches, by the same
code. A third run is as if the model's attention could not share: each answer has a copy of its
question's keys and values, as transformers' caches have it. Two random models: `nano`'s sizes,
and 4 layers of SmolLM2-135M's, in float32. The shared and the copied run draw from the same random
numbers and must write the same answers.

Prints seconds of computing, which is what counts where others compute, too, and ratios of them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from bench.models.lm.decode import decoding, generation_state
from bench.models.lm.decode.decoding import Generated, answer_streams, generate_texts
from bench.models.lm.devices import compute_threads
from bench.plan.language_stages import GenerationConfig
from bench.stages.build import build_model

QUESTIONS, LENGTH, NUM = 8, 400, 10
SIZES: dict[str, dict[str, int]] = {
    "nano": {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 352,
        "vocab_size": 4096,
    },
    "SmolLM2-135M's shape, 4 layers": {
        "hidden_size": 576,
        "num_hidden_layers": 4,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "vocab_size": 49_152,
    },
}
TOKENS = {"nano": (32, 256), "SmolLM2-135M's shape, 4 layers": (32,)}


def made_up_tokenizer(folder: Path) -> Any:
    titles = [f"Title {n} of many ({1950 + n % 50})" for n in range(300)]
    sizes = {"layers": 1, "width": 8, "heads": 1, "intermediate": 8, "vocabulary": 1024}
    nouns = ("movie", "movies")
    build_model(folder, titles=titles, nouns=nouns, architecture=sizes, context=512, seed=0)
    return AutoTokenizer.from_pretrained(folder)


def computed(
    model: Any, tokenizer: Any, tokens: int, repeats: int
) -> tuple[float, list[Generated]]:
    """Ask each question `repeats` times for its share of the answers."""
    numbers = np.random.default_rng(0)
    questions = numbers.integers(3, len(tokenizer), (QUESTIONS, LENGTH)).tolist() * repeats
    names = [f"{n:064x}" for n in range(QUESTIONS)] * repeats
    config = GenerationConfig(
        max_new_tokens=tokens,
        temperature=0.95,
        top_k=50,
        top_p=0.7,
        num_return_sequences=NUM // repeats,
    )
    streams = answer_streams(names, config)
    started = time.process_time()
    answers = generate_texts(model, tokenizer, questions, config, streams=streams, titles=False)
    return time.process_time() - started, answers


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        tokenizer = made_up_tokenizer(Path(name))
    for title, sizes in SIZES.items():
        config = LlamaConfig(**sizes, max_position_embeddings=1024, tie_word_embeddings=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = LlamaForCausalLM(config).eval()
        for tokens in TOKENS[title]:
            with compute_threads(1), torch.inference_mode():
                shared, answers = computed(model, tokenizer, tokens, 1)
                apart, _ = computed(model, tokenizer, tokens, NUM)
                with (
                    patch.object(generation_state, "shares_prompts", return_value=False),
                    patch.object(decoding, "shares_prompts", return_value=False),
                ):
                    copied, others = computed(model, tokenizer, tokens, 1)
            assert answers == others
            print(
                f"{title}, {QUESTIONS} questions of {LENGTH} tokens, {NUM} answers of {tokens}: "
                f"shared {shared:.2f} s, apart {apart:.2f} s, copied {copied:.2f} s; "
                f"{apart / shared:.1f} times as quick as apart, "
                f"{copied / shared:.1f} times as quick as with copies",
                flush=True,
            )


if __name__ == "__main__":
    main()
