"""Cards of sentence encoders: what they are made of, and how much of a text they read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bench.config.file_card import RawFile
from bench.config.toml import Card

Role = Literal["config", "tokenizer", "weights"]
ROLES: tuple[Role, ...] = ("config", "tokenizer", "weights")


class EncoderCard(Card):
    """A sentence encoder.

    Attributes:
        kind: "transformer", whose last hidden states are averaged over the tokens; or "trigrams",
            counts of letter triples that need no files, for checks that nothing is learned from.
        max_length: Tokens of a text that are read, the special ones included.
        config: Keys of the configuration file that this encoder has otherwise.
        files: The configuration, the tokenizer (`tokenizer.json`) and the weights (safetensors, or
            an ONNX export of a BERT), each with its checksum; none for trigrams.
    """

    kind: Literal["transformer", "trigrams"] = "transformer"

    title: str
    description: str
    license: str
    homepage: str
    max_length: int = Field(ge=3)
    config: dict[str, int] = {}
    files: dict[Role, RawFile] = {}

    @model_validator(mode="after")
    def _whole(self) -> EncoderCard:
        if self.kind == "trigrams":
            if self.files or self.config:
                raise ValueError("trigrams have neither files nor a config")
            return self
        missing = [role for role in ROLES if role not in self.files]
        if missing:
            raise ValueError(f"files.{missing[0]} is missing")
        if any(file.sha256 is None for file in self.files.values()):
            raise ValueError("every file of an encoder needs its sha256, for it stands in the keys")
        return self
