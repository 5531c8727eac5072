"""What a run lacks on this machine, before anything is computed or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.config import plugins
from bench.errors import BenchError
from bench.plan.graph import build_graph, find_missing
from bench.plan.trials import Trial
from bench.runner.offline.needs import Asset, find_local_files, list_assets
from bench.runner.run_plan import plan_trials
from bench.runner.store import Store

MAX_NAMES = 4
MAX_PROBLEM = 160
MIB = 2**20


def check_available(
    trials: Sequence[Trial], store: Path, *, data_dir: Path | None, offline: bool
) -> None:
    """Refuse a run whose inputs are missing and cannot be downloaded.

    What can be downloaded without asking is downloaded by the run: raw files with a source, and
    backbones that need no license. Rows that cannot be planned are skipped, as always, and are
    listed where the run is refused for another reason.

    Raises:
        BenchError: An asset is missing and cannot be fetched, or no trial can be planned.
    """
    graph = build_graph(trial for trial in trials if not trial.problem)
    artifacts = Store(store)
    missing = find_missing(graph, lambda stage: artifacts.meta(stage.kind, stage.key) is not None)
    assets: dict[Asset, set[str]] = {}
    for key in missing:
        for asset in list_assets([graph.stages[key]]):
            assets.setdefault(asset, set()).update(graph.needed_by[key])
    absent = {
        asset: needed_by
        for asset, needed_by in assets.items()
        if not find_local_files(asset, data_dir)
    }
    blocking = {asset for asset in absent if offline or not _can_fetch(asset)}
    problems = Counter(trial.problem for trial in trials if trial.problem)
    if not blocking and (graph.stages or not trials):
        return
    blocked = {trial for asset in blocking for trial in absent[asset]}
    ready = [trial for trial in trials if not trial.problem and trial.id not in blocked]
    lines = [
        "This run needs what is not available here.",
        *_describe_assets("data", "data sets", absent, _describe_file),
        *_describe_assets("encoder", "sentence encoders", absent, _describe_file),
        *_describe_assets("backbone", "backbones", absent, _describe_backbone),
        *(_describe_problem(text, number) for text, number in problems.most_common(MAX_NAMES)),
        f"  what would run   {len(ready)} of {len(trials)} trials",
        f"  time             {_describe_time(ready, store)}",
        "Nothing was run or written.",
    ]
    raise BenchError(
        "\n".join(lines),
        "--keep-going runs what can run; --rehearse runs all of it in minutes, on generated data "
        "with a tiny model; bench assets ls lists files and licenses.",
    )


def _can_fetch(asset: Asset) -> bool:
    if asset.file is not None:
        return bool(asset.file.sources)
    return not plugins.model_card(asset.owner).gated


def _describe_assets(
    kind: str, label: str, absent: dict[Asset, set[str]], describe: Callable[[list[Asset]], str]
) -> list[str]:
    owners: dict[str, list[Asset]] = {}
    for asset in absent:
        if asset.kind == kind:
            owners.setdefault(asset.owner, []).append(asset)
    texts = [f"{owner} ({describe(files)})" for owner, files in owners.items()]
    more = f", and {len(texts) - MAX_NAMES} more" if len(texts) > MAX_NAMES else ""
    return [f"  {label:16} {', '.join(texts[:MAX_NAMES])}{more}"] if texts else []


def _describe_file(files: list[Asset]) -> str:
    sizes = [asset.file.size for asset in files if asset.file is not None]
    mebibytes = sum(size or 0 for size in sizes) / MIB
    size = f"{mebibytes:,.0f} MiB" if all(sizes) else "unknown size"
    fetched = all(_can_fetch(asset) for asset in files)
    terms = files[0].license.split(".")[0].split(";")[0]
    return f"{size}, {'download' if fetched else 'no automatic download'}, {terms}"


def _describe_backbone(files: list[Asset]) -> str:
    card = plugins.model_card(files[0].owner)
    size = f"{card.parameters / 1e9:.3g} B parameters, " if card.parameters else ""
    access = f"accept its license at {card.homepage}" if card.gated else "download"
    return f"{size}{access}"


def _describe_problem(text: str, number: int) -> str:
    short = text if len(text) <= MAX_PROBLEM else f"{text[:MAX_PROBLEM].rstrip()} …"
    return f"  skipped          {number} trial{'s' if number > 1 else ''}: {short}"


def _describe_time(ready: Sequence[Trial], store: Path) -> str:
    if not ready:
        return "none"
    predicted = plan_trials(ready, store).predict_range()
    if predicted is None:
        return "no estimate (bench doctor --measure, bench plan)"
    return " to ".join(dict.fromkeys(f"{seconds / 3600:,.1f} h" for seconds in predicted))
