"""Random Llamas that write words and double quotes, and models whose probabilities are a table."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END = "</s>"
QUOTING = ['"', '"a', 'b"', '".']
WORDS = ["<s>", END, "<pad>", "<unk>", *"abcdefghijkl", *QUOTING]


def writer_tokenizer(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    """Words and runs of other characters; texts begin with <s>."""
    built = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, "<unk>"))
    built.pre_tokenizer = Whitespace()
    built.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token="<s>",
        eos_token=END,
        pad_token="<pad>",
        unk_token="<unk>",
    )


def writer_model(
    num_words: int = len(WORDS), *, seed: int = 0, context: int = 256
) -> LlamaForCausalLM:
    """A random Llama whose next token depends on all tokens before it."""
    config = LlamaConfig(
        vocab_size=num_words,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=context,
        initializer_range=0.4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def write_backbone(folder: Path, **settings: int) -> None:
    """Save model and tokenizer as a backbone's artifact has them."""
    folder.mkdir()
    writer_model(**settings).save_pretrained(folder)
    writer_tokenizer().save_pretrained(folder)


class Table(nn.Module):
    """Probabilities of the next word given the last one; after all other words comes the end."""

    def __init__(self, words: list[str], table: dict[str, dict[str, float]]) -> None:
        super().__init__()
        self.tokenizer = writer_tokenizer(words)
        self.config = LlamaConfig(vocab_size=len(words), num_hidden_layers=1)
        self.probabilities = nn.Parameter(torch.zeros(len(words), len(words)))
        with torch.no_grad():
            for before in words:
                for after, probability in table.get(before, {END: 1.0}).items():
                    self.probabilities[words.index(before), words.index(after)] = probability

    def forward(self, input_ids: Tensor, **given: object) -> SimpleNamespace:
        return SimpleNamespace(logits=self.probabilities[input_ids[:, -1:]].log())
