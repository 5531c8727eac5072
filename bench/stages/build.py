"""Build a backbone: a small Llama with random weights, and a tokenizer trained on the titles.

The tokenizer is byte-level BPE (Sennrich et al., ACL 2016), so that no character is unknown. A
double quote is always a token of its own: titles are quoted, so each begins and ends in the same
way in a history and in a response. The separator of two titles is one token, and so is a year in
brackets, as in titles of films, for at this size every token costs time. Input and output
embeddings are tied: a second matrix would hold most of the parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Regex, decoders, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.data import prepared
from bench.data.prompts import prompt, response
from bench.hashing import Job, Plain, derive_seed
from bench.models.lm import weights
from bench.plan.backbones import BuildConfig

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
TITLES_PER_PROMPT = 10

# No token spans two of these: a quote, a separator, a year, letters, digits, symbols, blanks.
PIECES = "|".join(
    (
        r'"',
        r', (?="|\z)',
        r" ?\(\p{N}{4}\)",
        r" ?\p{L}+",
        r" ?\p{N}+",
        r' ?[^\s\p{L}\p{N}"]+',
        r"\s+(?!\S)",
        r"\s+",
    )
)


def build_model(
    folder: Path,
    *,
    titles: Sequence[str],
    nouns: Sequence[str],
    architecture: Mapping[str, int],
    context: int,
    seed: int,
) -> dict[str, Plain]:
    """Write a model with random weights and its tokenizer; equal arguments give equal bytes.

    `architecture` names layers, width, heads, intermediate and the maximum size of the vocabulary;
    `nouns` are what prompts call one item, and several; `context` is the maximum tokens of a text.

    Returns:
        Logged metrics: the vocabulary's size, and the number of parameters.
    """
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=_train_tokenizer(titles, nouns, architecture["vocabulary"]),
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture["width"],
        intermediate_size=architecture["intermediate"],
        num_hidden_layers=architecture["layers"],
        num_attention_heads=architecture["heads"],
        num_key_value_heads=architecture["heads"],
        max_position_embeddings=context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed("built weights", seed))
        model = LlamaForCausalLM(config)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tensors = weights.own_tensors(model)
    weights.write_tensors(tensors, folder / "model.safetensors")
    return {
        "vocabulary": len(tokenizer),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
    }


def _train_tokenizer(titles: Sequence[str], nouns: Sequence[str], vocabulary: int) -> FastTokenizer:
    tokenizer = FastTokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BEGIN, END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_texts(titles, nouns), trainer)
    begin = tokenizer.token_to_id(BEGIN)
    tokenizer.post_processor = TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, begin)]
    )
    return tokenizer


def _training_texts(titles: Sequence[str], nouns: Sequence[str]) -> Iterator[str]:
    """Yield texts with every title once in a prompt's history and once as a response."""
    singular, plural = nouns
    for start in range(0, len(titles), TITLES_PER_PROMPT):
        part = titles[start : start + TITLES_PER_PROMPT]
        yield prompt(part, singular=singular, plural=plural)
        yield from map(response, part)


def run(job: Job, config: BuildConfig, inputs: Mapping[str, Path]) -> None:
    """Train the tokenizer and draw the weights."""
    job.metadata.update(
        build_model(
            job.out,
            titles=prepared.load(inputs["data"]).catalog.titles,
            nouns=config.nouns,
            architecture=config.architecture,
            context=config.context,
            seed=config.seed,
        )
    )
