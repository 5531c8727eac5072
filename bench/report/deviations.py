"""Deviations: other data, weights, backbone or budget than the cards of a board name.

Also models trained on other text than the data set, which may have seen it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from bench.config import plugins
from bench.config.cards import BoardRow
from bench.config.request import PROBES
from bench.config.toml import CardType
from bench.data.prepare import find_mismatches
from bench.data.user_files import describe_other_versions
from bench.errors import BenchError
from bench.plan.trials import Board, Trial
from bench.report.table import Row
from bench.results.load import ResultSet
from bench.results.schema import Result
from bench.stats.descriptions import join_words

BACKBONES = ("build", "gguf", "hub")
TRAINED_ELSEWHERE = ("gguf", "hub", "responses")
"""Kinds of stages that bring in other text; what "build" makes is trained on the data set alone."""
DIGITS = 12


def describe_data(result: Result) -> list[str]:
    """Return a sentence per way in which the data are not those that the card describes."""
    card = find_card(plugins.dataset_card, result.dataset)
    if card is None:
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
    card = find_card(plugins.model_card, result.model)
    if card and card.weights == "folder":  # the card is for these very files
        return ""
    return f"own weights in place of {result.model} ({_describe_files(hub)})"


def name_backbone(result: Result) -> str:
    """Name a backbone by its card, with what was read of the hub or of a folder."""
    hub = _metadata(result, "hub")
    if text := describe_weights(result):
        return text
    if result.model is None or "files_checksum" not in hub:
        return result.model or ""
    repository, _, revision = hub.get("source", "").partition("@")
    source = f"{repository}@{revision[:DIGITS]}, " if revision else "own folder, "
    return f"{result.model} ({source}{_describe_files(hub)})"


def _describe_files(hub: dict[str, Any]) -> str:
    checksum = hub.get("folder_checksum") or hub["files_checksum"]
    parameters = hub["parameters"] or 0
    return f"{hub['architecture']}, {parameters:,} parameters, sha256 {checksum[:DIGITS]}"


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

    It is "" where backbone, budget and data are the board's, or nothing was run.
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
    card = find_card(plugins.model_card, result.model)
    # A plan refuses files that have not the shape that a card declares.
    if (text := describe_weights(result)) and not (card and card.shape):
        differences.append(text)
    return "; ".join(differences)


def find_card(load: Callable[[str], CardType], name: str | None) -> CardType | None:
    """Load a card, or return None: results outlive cards."""
    try:
        return None if name is None else load(name)
    except BenchError:
        return None


def _metadata(result: Result, kind: str) -> dict[str, Any]:
    return next((stage.metadata for stage in result.stages if stage.kind == kind), {})


def name_external(result: Result | None) -> str:
    """Name the model trained on other text that a result used; "" for none."""
    if result is None:
        return ""
    kinds = [stage.kind for stage in result.stages if stage.kind in TRAINED_ELSEWHERE]
    if "responses" in kinds:
        return str(result.settings.get("writer") or "an outside model")
    return (result.model or "") if kinds else ""


def describe_external(dataset: str, rows: Iterable[Row]) -> str:
    """Say which rows used models that may have seen a data set; "" without any result."""
    users: dict[str, list[str]] = {}
    for row in rows:
        if row.successful:
            users.setdefault(row.external, []).append(row.name)
    alone = bool(users.pop("", None))
    data = find_card(plugins.dataset_card, dataset)
    if data and data.reader.startswith("synthetic"):
        return ""
    sentences = []
    for model, names in users.items():
        card = find_card(plugins.model_card, model)
        cutoff = (card and card.training_cutoff) or "an unknown date"
        sentences.append(
            f"{join_words(names)} {'uses' if len(names) == 1 else 'use'} {model}, trained on other "
            f"text until {cutoff}, which may have seen the data: {read_probe(model, dataset)}."
        )
    if sentences and alone:
        sentences.append("The other rows use no such model.")
    return " ".join(sentences)


def read_probe(model: str, dataset: str) -> str:
    """Say what `bench probe` found about a backbone and a data set, if it was run here."""
    names = [name.partition(":")[0] for name in (model, dataset)]
    try:
        tasks = json.loads((PROBES / f"{'--'.join(names)}.json").read_bytes())
        learned = [f"“{each['task']}”" for each in tasks if "control" in each["verdict"]]
    except (OSError, ValueError, TypeError, KeyError):
        return "bench probe was not run"
    if not learned:
        return "bench probe found no knowledge above its control, which excludes nothing"
    return f"bench probe found knowledge above its control ({join_words(learned)})"
