"""Cards of backbones and sentence encoders: their files, their settings, what they need."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from bench.config.cards import RawFile
from bench.config.lora import Lora
from bench.config.toml import Card, Homepage
from bench.hashing import Plain


class Architecture(Card):
    """A Llama built from nothing: random weights, a tokenizer trained on the titles."""

    layers: int = Field(ge=1)
    width: int = Field(ge=8)
    heads: int = Field(ge=1)
    intermediate: int = Field(ge=8)
    vocabulary: int = Field(ge=300)

    @model_validator(mode="after")
    def _heads_fit(self) -> Architecture:
        if self.width % (2 * self.heads):
            raise ValueError("width must be divisible by twice the number of heads")
        return self


class Pretraining(Card):
    """How a built model is pretrained; see `bench.plan.backbones.PretrainConfig`.

    Attributes:
        seed: The same for all trials.
    """

    num_train_epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    max_length: int = Field(ge=16)
    seed: int = 0


class Variant(Card):
    """What a variant of a backbone changes; also what `--model-set` may change."""

    quantization: Literal["none", "nf4"] | None = None
    dtype: Literal["float32", "bfloat16"] | None = None


class ModelCard(Card):
    """A backbone language model.

    Attributes:
        weights: "built" from nothing, "gguf" from the files, "hub", or a "folder" of yours.
        architecture: Of a built model.
        pretraining: Of a built model; without it the weights stay random.
        files: "gguf" for the weights.
        shape: Fields of its config.json, which a folder of `--model-path` must have, too.
        repository: On the hub, with `revision`, the full hash of a commit.
        folder: Path of the user's own files, with `checksum`, of their names and contents.
        parameters: Their number, for estimates of time; a built model's follow from its shape.
        gated: Whether the hub asks to accept a license first.
        training_cutoff: When the text that it was trained on ends, such as "2023-12"; empty if
            its makers do not say.
        tuning: All weights, or adapters.
        quantization: "nf4" keeps the base weights in 4 bits while training (needs the extra `nf4`).
        dtype: Of the arithmetic, and of frozen weights; trained ones are float32.
        variants: Changes by name: `--model CARD:NAME`.
        as_published: The variant of rows with `as_published = true`.
        context: Most tokens of prompt and response together.
        threads: CPU threads of each of its stages.
        gpus: Share of a GPU that a stage asks for, at most 1, where there is one.
        every: Settings of all methods that have them; learning rates differ between models.
        methods: Settings by method, over those.
    """

    title: str
    description: str
    license: str
    homepage: Homepage = ""
    weights: Literal["built", "gguf", "hub", "folder"]
    architecture: Architecture | None = None
    pretraining: Pretraining | None = None
    files: dict[Literal["gguf"], RawFile] = {}
    shape: dict[str, str | int] = {}
    repository: str = ""
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    folder: str = ""
    checksum: str = ""
    parameters: float | None = Field(None, gt=0)
    gated: bool = False
    training_cutoff: str = ""
    tuning: Literal["full", "lora"]
    lora: Lora = Lora()
    quantization: Literal["none", "nf4"] = "none"
    dtype: Literal["float32", "bfloat16"] = "float32"
    variants: dict[str, Variant] = {}
    as_published: str = ""
    context: int = Field(512, ge=32)
    threads: int = Field(2, ge=1)
    gpus: float = Field(1.0, gt=0)
    every: dict[str, Any] = {}
    methods: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _check_weights(self) -> ModelCard:
        fields = {
            "architecture": (self.architecture, "built"),
            "files.gguf": (self.files, "gguf"),
            "repository": (self.repository, "hub"),
            "revision": (self.revision, "hub"),
            "folder": (self.folder, "folder"),
            "checksum": (self.checksum, "folder"),
        }
        for name, (value, weights) in fields.items():
            if weights == self.weights and not value:
                raise ValueError(f"weights = {self.weights!r} needs `{name}`")
            if weights != self.weights and value:
                raise ValueError(f"`{name}` does not go with weights = {self.weights!r}")
        if self.gpus > 1:
            raise ValueError("gpus > 1: one trial cannot use several GPUs yet, at most 1")
        if self.shape and self.weights != "hub":
            raise ValueError(f"`shape` does not go with weights = {self.weights!r}")
        if self.pretraining and self.weights != "built":
            raise ValueError(f"`pretraining` does not go with weights = {self.weights!r}")
        if self.weights == "gguf" and self.files["gguf"].sha256 is None:
            raise ValueError("files.gguf needs its sha256, which is part of the keys")
        if self.quantization != "none" and self.tuning != "lora":
            raise ValueError("weights in 4 bits cannot be trained in full; tuning must be lora")
        if self.as_published and self.as_published not in self.variants:
            raise ValueError(f"as_published: there is no variant {self.as_published!r}")
        if self.pretraining is not None and self.pretraining.max_length > self.context:
            raise ValueError("pretraining.max_length must not be more than context")
        return self

    @property
    def tuning_arguments(self) -> dict[str, Plain]:
        """What decides how it is tuned, as an argument of stages."""
        adapters = self.lora.model_dump(mode="json") if self.tuning == "lora" else {}
        return {"kind": self.tuning, **adapters}


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
    homepage: Homepage
    max_length: int = Field(ge=3)
    config: dict[str, int] = {}
    files: dict[Role, RawFile] = {}

    @model_validator(mode="after")
    def _check_files(self) -> EncoderCard:
        if self.kind == "trigrams":
            if self.files or self.config:
                raise ValueError("trigrams have neither files nor a config")
            return self
        missing = [role for role in ROLES if role not in self.files]
        if missing:
            raise ValueError(f"files.{missing[0]} is missing")
        if any(file.sha256 is None for file in self.files.values()):
            raise ValueError("every file of an encoder needs its sha256, which is part of the keys")
        return self
