"""Answers by continuous batching: where one ends, the next question takes its slot.

A plain batch takes as long as its longest answer. transformers' `generate_batch` and vLLM apply
temperature, top-k and top-p in this order, as `bench.models.lm.decode.decoding` does, but from
random numbers of their own: what is sampled depends on all questions of a shard.
"""

from __future__ import annotations

import importlib
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from transformers import ContinuousBatchingConfig
from transformers import GenerationConfig as TransformersConfig

from bench.errors import BenchError
from bench.hashing import derive_seed
from bench.models.lm.decode.generation_state import Tokens, stop_tokens
from bench.models.lm.tokenization import Tokenizer
from bench.models.lm.train.trainer_setup import isolated, unpatched
from bench.plan.language_stages import GenerationConfig

PAGE_SIZE = 256
"""Tokens per page of transformers' cache."""
SHARD_SIZE = 1024
"""Questions that are answered together, and saved together."""

Generate: TypeAlias = Callable[[Sequence[Sequence[int]]], list[list[Tokens]]]


def split_into_shards(num_prompts: int) -> Iterator[list[int]]:
    """Split the indices of prompts into shards, in order."""
    for start in range(0, num_prompts, SHARD_SIZE):
        yield list(range(start, min(start + SHARD_SIZE, num_prompts)))


def start_backend(
    model: Any, tokenizer: Tokenizer, config: GenerationConfig, *, cache_size: int
) -> Generate:
    """Return a function that answers questions by `config.backend`.

    Adapters are merged into the model. `cache_size` is the maximum number of tokens in the cache of
    transformers' backend; vLLM sizes its own.
    """
    base: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    stops, seed = sorted(stop_tokens(model, tokenizer)), derive_seed("answers", config.seed) % 2**31
    if config.backend == "vllm":
        return _start_vllm(base, tokenizer, config, stops, seed)
    sampled = {"temperature": config.temperature, "top_k": config.top_k, "top_p": config.top_p}
    settings = TransformersConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=config.max_new_tokens,
        num_return_sequences=config.num_return_sequences,
        do_sample=config.temperature > 0,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
        **(sampled if config.temperature else {}),
    )

    batching = ContinuousBatchingConfig(
        num_blocks=cache_size // PAGE_SIZE + math.ceil(config.model.context / PAGE_SIZE),
        page_size=PAGE_SIZE,
        return_logprobs=True,
        seed=seed,
        drop_unsupported_processors=False,
        auto_switch_to_flash=False,  # its kernels would be downloaded
    )

    def generate(prompts: Sequence[Sequence[int]]) -> list[list[Tokens]]:
        with isolated(seed, config.model.threads), unpatched(model):
            outputs = base.generate_batch([list(ids) for ids in prompts], settings, batching)
        answers = []
        for output in outputs.values():
            if output.error or not output.generated_tokens:
                raise BenchError(
                    f"Continuous batching failed: {output.error}.", 'Set backend = "transformers".'
                )
            answers.append(Tokens(output.generated_tokens, sum(output.logprobs)))
        num = config.num_return_sequences
        if len(answers) != num * len(prompts):
            raise BenchError(
                f"Continuous batching ended after {len(answers)} of {num * len(prompts)} answers.",
                'Set backend = "transformers".',
            )
        return [answers[start : start + num] for start in range(0, len(answers), num)]

    return generate


def _start_vllm(
    base: Any, tokenizer: Tokenizer, config: GenerationConfig, stops: list[int], seed: int
) -> Generate:
    vllm: Any = importlib.import_module("vllm")
    with tempfile.TemporaryDirectory() as folder:
        # Merged layers of peft keep the plain weights under another name, next to the adapter's.
        weights = {
            name.replace(".base_layer", ""): weight
            for name, weight in base.state_dict().items()
            if ".lora_" not in name
        }
        base.save_pretrained(folder, state_dict=weights)
        tokenizer.save_pretrained(folder)
        engine = vllm.LLM(
            model=folder,
            dtype=config.model.dtype,
            max_model_len=config.model.context,
            seed=seed,
        )
    parameters = vllm.SamplingParams(
        n=config.num_return_sequences,
        max_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        stop_token_ids=stops,
        ignore_eos=False,
        detokenize=False,
        logprobs=0,
    )

    def generate(prompts: Sequence[Sequence[int]]) -> list[list[Tokens]]:
        requests = [{"prompt_token_ids": list(ids)} for ids in prompts]
        return [
            [Tokens(list(text.token_ids), text.cumulative_logprob) for text in result.outputs]
            for result in engine.generate(requests, parameters, use_tqdm=False)
        ]

    return generate
