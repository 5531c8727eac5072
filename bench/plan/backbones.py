"""From a model card to the stages that leave its untuned weights and tokenizer."""

from __future__ import annotations

from pathlib import Path

from bench.config.backbone_card import ModelCard
from bench.data.assets import folder_checksum
from bench.errors import BenchError
from bench.hashing import Plain
from bench.plan.stage import Stage
from bench.plan.types import Model, Nouns


def language_model(
    name: str,
    card: ModelCard,
    *,
    data: Stage,
    nouns: Nouns,
    lists: Stage | None = None,
    model_path: Path | None = None,
) -> Model:
    """Compose a backbone as plans see it.

    Args:
        name: The card's name.
        card: The card.
        data: The prepared data, which a model built from nothing takes its words from.
        nouns: What prompts call the items; its tokenizer learns them, too.
        lists: What is to be re-ranked; a model built from nothing never sees the users who validate
            or test there.
        model_path: The user's own folder of a model, instead of the hub.

    Raises:
        BenchError: `model_path` goes with another kind of card, or is no folder of a model.
    """
    if model_path is not None and card.weights != "hub":
        raise BenchError(
            f"--model-path is for models of the hub, and {name} is {card.weights}.",
            "Leave it out, or name another --model.",
        )
    return Model(
        name=name,
        backbone=_backbone(name, card, data, nouns, lists, model_path),
        tuning=card.tuning_arguments,
        dtype=card.dtype,
        quantization=card.quantization,
        context=card.context,
        threads=card.threads,
        gpus=card.gpus,
    )


def _backbone(
    name: str,
    card: ModelCard,
    data: Stage,
    nouns: Nouns,
    lists: Stage | None,
    model_path: Path | None,
) -> Stage:
    if card.weights == "gguf":
        return Stage(kind="gguf", args={"name": name, "sha256": card.files["gguf"].sha256})
    if card.weights == "hub":
        if model_path is not None:
            return Stage(kind="hub", args={"name": name, "checksum": folder_checksum(model_path)})
        return Stage(
            kind="hub",
            args={"name": name, "repository": card.repository, "revision": card.revision},
        )
    assert card.architecture is not None
    args: dict[str, Plain] = {
        "architecture": card.architecture.model_dump(mode="json"),
        "context": card.context,
        "nouns": list(nouns),
        "seed": card.pretraining.seed if card.pretraining else 0,
    }
    built = Stage(kind="build", args=args, inputs={"data": data})
    if card.pretraining is None:
        return built
    inputs = {"backbone": built, "data": data}
    return Stage(
        kind="pretrain",
        args={**card.pretraining.model_dump(mode="json"), "threads": card.threads},
        inputs=inputs if lists is None else {**inputs, "lists": lists},
        gpus=card.gpus,
    )
