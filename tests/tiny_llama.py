"""A random Llama with a word tokenizer that knows a few titles, as objects and as a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.trainers import WordLevelTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.data.prompts import prompt, response

TITLES = ("Red House", "The Green Tree", "Blue", "A River of Sand", "Red Tree", "Sand and Sea")
NOUNS = ("book", "books")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    built = Tokenizer(WordLevel(unk_token="<unk>"))
    built.pre_tokenizer = Whitespace()
    texts = [response(title) for title in TITLES]
    texts += [
        prompt(TITLES, singular=NOUNS[0], plural=NOUNS[1]),
        prompt([], singular="", plural=""),
    ]
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    built.train_from_iterator(texts, WordLevelTrainer(special_tokens=special))
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def tiny_llama(vocabulary: int = 120, *, seed: int = 0, width: int = 32) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        initializer_range=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def tiny_backbone(folder: Path) -> Path:
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
