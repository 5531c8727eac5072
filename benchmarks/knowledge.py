"""How much it saves that all answers to a question share its reading.

A random Llama of 8 layers, questions of 400 tokens (30 titles with stars and a request), answers of
32, 10 to a question, 2 threads: 10 draws to a question, against 10 times the question, both in full
batches. Prints seconds, seconds of computing, which is what counts where others compute, too, and
the ratio of these.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from bench.lm.answering import Drawing, answer
from bench.lm.build import build
from bench.lm.threads import compute_threads

QUESTIONS, LENGTH, TOKENS, NUM = 4, 400, 32, 10


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {"layers": 8, "width": 512, "heads": 8, "intermediate": 1024, "vocabulary": 4096}
        titles = [f"Title {n} of many ({1950 + n % 50})" for n in range(3000)]
        build(
            folder,
            titles=titles,
            nouns=("movie", "movies"),
            architecture=sizes,
            context=512,
            seed=0,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).eval()
    numbers = np.random.default_rng(0)
    questions = numbers.integers(3, len(tokenizer), (QUESTIONS, LENGTH)).tolist()
    names = [f"{n:064x}" for n in range(QUESTIONS)]
    seconds = {}
    with compute_threads(2), torch.inference_mode():
        for way, repeats in (("shared", 1), ("apart", NUM)):
            how = Drawing(max_new_tokens=TOKENS, temperature=1.0, top_k=50, num=NUM // repeats)
            started, computing = time.perf_counter(), time.process_time()
            answer(model, tokenizer, questions * repeats, names * repeats, how)
            seconds[way] = time.perf_counter() - started, time.process_time() - computing
            print(f"{way}: {seconds[way][0]:.1f} s, {seconds[way][1]:.1f} s of computing")
    ratio = seconds["apart"][1] / seconds["shared"][1]
    print(f"{QUESTIONS} questions of {LENGTH} tokens, {NUM} answers of {TOKENS}: ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
