"""What results really used: other data, weights, backbone or budget than the cards name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.config import plugins
from bench.config.cards import BoardRow
from bench.data.prepare import find_mismatches
from bench.data.user_files import describe_other_versions
from bench.errors import BenchError
from bench.plan.trials import Board, Trial
from bench.results.load import ResultSet
from bench.results.schema import Result

BACKBONES = ("build", "gguf", "hub")
DIGITS = 12


def describe_data(result: Result) -> list[str]:
    """Return a sentence per way in which the data are not those that the card describes."""
    try:
        card = plugins.dataset_card(result.dataset)
    except BenchError:  # results outlive cards
        return []
    counts = {} if result.data is None else result.data.counts
    expected = {name: number for name, number in card.expected.items() if name in counts}
    checksums = _metadata(result, "prepare").get("checksums", {})
    return [
        *describe_other_versions(card, checksums),
        *find_mismatches(card.model_copy(update={"expected": expected}), counts),
    ]


def describe_weights(result: Result) -> str:
    """Describe a backbone from a folder of the user; "" for a card's own weights."""
    hub = _metadata(result, "hub")
    if "folder_checksum" not in hub:
        return ""
    return (
        f"own weights in place of {result.model} ({hub['architecture']}, "
        f"{hub['parameters'] or 0:,} parameters, sha256 {hub['folder_checksum'][:DIGITS]})"
    )


def describe_used(trials: Iterable[Trial], results: ResultSet) -> list[str]:
    """Return each sentence about data and weights that are not those of the cards."""
    sentences: list[str] = []
    for trial in trials:
        if (result := results.get(trial.id)) is not None and result.status == "ok":
            sentences += describe_data(result)
            if text := describe_weights(result):
                sentences.append(f"The backbone has {text}.")
    return list(dict.fromkeys(sentences))


def find_difference(board: Board, row: BoardRow, trial: Trial, results: ResultSet) -> str:
    """Say how a row was run otherwise than its board declares, which is as the paper ran it.

    Returns:
        "" where backbone, budget and data are the board's, or nothing was run.
    """
    result = results.get(trial.id)
    if result is None or result.status != "ok":
        return ""
    differences = [sentence.rstrip(".") for sentence in describe_data(result)]
    if trial.dataset in board.card.in_place_of:
        differences.append(f"{trial.dataset} in place of {board.card.in_place_of[trial.dataset]}")
    if board.name in plugins.card_paths("leaderboards"):
        declared = plugins.board_card(board.name)
        full = plugins.budget_card(declared.budget).rows
        if board.card.budget != declared.budget:
            differences.append(f"budget {board.card.budget} instead of {declared.budget}")
        elif trial.rows != full:
            differences.append("other numbers of samples than the budget's")
        own = {each.name: each.model for each in declared.rows}.get(row.name)
        backbone = own or declared.model
        has_backbone = any(stage.kind in BACKBONES for stage in result.stages)
        if has_backbone and trial.model != backbone:
            differences.append(f"backbone {trial.model} instead of {backbone}")
    if (text := describe_weights(result)) and not _has_shape(result.model):
        differences.append(text)
    return "; ".join(differences)


def _has_shape(model: str | None) -> bool:
    """Tell whether the card says what its config.json must say: then a plan refused other ones."""
    try:
        return model is not None and bool(plugins.model_card(model).shape)
    except BenchError:
        return False


def _metadata(result: Result, kind: str) -> dict[str, Any]:
    return next((stage.metadata for stage in result.stages if stage.kind == kind), {})
