"""A random BERT with a word tokenizer, laid out as an encoder's card and files."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from bench.hashing import checksum

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "a", "red", "green", "house", "tree", "of"]
WORDS += ["river", "and", "sea"]
LAYERS, WIDTH, MAX_LENGTH = 2, 16, 8


def tiny_bert() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=0.7,
    )
    return BertModel(config).eval()


def tokenizer() -> Tokenizer:
    """A tokenizer whose file asks to pad to 40 and to cut at 4, as real ones ask for 128."""
    built = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    built.pre_tokenizer = Whitespace()
    built.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    built.enable_padding(length=40)
    built.enable_truncation(4)
    return built


def write_encoder(root: Path, name: str = "tiny") -> None:
    """Write `root/encoders/NAME.toml` and the files that it names into `root/NAME/`."""
    folder = root / name
    folder.mkdir()
    (root / "encoders").mkdir()
    model = tiny_bert()
    model.config.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    save_file(dict(model.state_dict()), folder / "model.safetensors")
    files = {
        "config": "config.json",
        "tokenizer": "tokenizer.json",
        "weights": "model.safetensors",
    }
    card = (
        'title = "T"\ndescription = "D"\nlicense = "L"\nhomepage = "https://example.org"\n'
        f"max_length = {MAX_LENGTH}\n"
    )
    for role, file in files.items():
        card += f'\n[files.{role}]\nname = "{file}"\nsha256 = "{checksum(folder / file)}"\n'
    (root / "encoders" / f"{name}.toml").write_text(card)
