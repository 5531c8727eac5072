"""Assets of a run: raw files, sentence encoders and backbones, which no stage computes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bench.config import plugins
from bench.config.cards import RawFile
from bench.config.plugins import encoder_card
from bench.data import assets
from bench.errors import BenchError
from bench.plan.stage import Stage
from bench.runner.loop import READS_RAW_FILES

AssetKind: TypeAlias = Literal["data", "encoder", "backbone"]


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file of the asset cache, or a backbone's folder in the hub's cache.

    Attributes:
        homepage: Where a person can find it.
        file: The card's entry of the file; None for a folder of the hub.
        repository: Repository on the hub; empty for a file.
    """

    kind: AssetKind
    owner: str
    license: str
    homepage: str | None
    file: RawFile | None = None
    repository: str = ""
    revision: str = ""

    @property
    def name(self) -> str:
        """Name of the file or of the repository."""
        return self.file.name if self.file else self.repository


def list_assets(stages: Iterable[Stage]) -> list[Asset]:
    """Return the distinct assets that stages read, in the order of the stages.

    The user's own files are not among them (see `list_user_files`).
    """
    required: list[Asset] = []
    for stage in stages:
        args: dict[str, Any] = dict(stage.args)
        if stage.kind in READS_RAW_FILES:
            card = plugins.dataset_card(args["name"])
            files = [assets.raw_file(card, *item) for item in args["checksums"].items()]
            required += [_make_asset("data", args["name"], card, file=file) for file in files]
        elif stage.kind == "gguf":
            model = plugins.model_card(args["name"])
            file = model.files["gguf"]
            required.append(_make_asset("backbone", args["name"], model, file=file))
        elif stage.kind == "hub" and args.get("repository"):
            model = plugins.model_card(args["name"])
            commit = {"repository": model.repository, "revision": model.revision or ""}
            required.append(_make_asset("backbone", args["name"], model, **commit))
        if args.get("encoder_checksums"):
            encoder = encoder_card(args["encoder"])
            for file in encoder.files.values():
                required.append(_make_asset("encoder", args["encoder"], encoder, file=file))
    return list(dict.fromkeys(required))


def _make_asset(kind: AssetKind, owner: str, card: Any, **fields: Any) -> Asset:
    license_note, homepage = card.license, card.homepage or None
    return Asset(kind=kind, owner=owner, license=license_note, homepage=homepage, **fields)


def list_user_files(stages: Iterable[Stage]) -> list[str]:
    """Return one sentence per file or folder of the user's own that stages read."""
    notes = []
    for stage in stages:
        if stage.kind == "hub" and stage.args.get("checksum"):
            notes.append(
                f"The folder of {stage.args['name']} (--model-path) is your own: copy it yourself "
                "and name it again."
            )
        if stage.kind == "responses":
            notes.append(
                f"Answers of {stage.args['writer']} come from $BENCH_RESPONSES or an endpoint: "
                "copy the file yourself and name it again."
            )
    return list(dict.fromkeys(notes))


def find_local_files(asset: Asset, data_dir: Path | None) -> dict[str, Path]:
    """Return an asset's files by their path in the cache; none if it must be fetched."""
    if asset.file is None:
        try:
            return fetch_asset(asset, data_dir=data_dir, offline=True)
        except BenchError:
            return {}
    path = assets.local_file(asset.file, _get_user_folder(asset, data_dir))
    return {} if path is None else {get_cache_path(asset.file): path}


def fetch_asset(asset: Asset, *, data_dir: Path | None, offline: bool) -> dict[str, Path]:
    """Return an asset's verified files by their path in the cache, fetched if necessary.

    Raises:
        BenchError: It cannot be fetched, or differs from the card.
    """
    if asset.file is None:
        return _fetch_from_hub(asset, offline=offline)
    owner = asset.owner if asset.kind == "data" else f"the {asset.kind} {asset.owner}"
    folder = _get_user_folder(asset, data_dir)
    path = assets.fetch(asset.file, asset, owner, data_dir=folder, offline=offline)
    return {get_cache_path(asset.file): path}


def get_cache_path(file: RawFile) -> str:
    """Return a file's path inside the asset cache."""
    return assets.cached_path(file).relative_to(assets.cache_folder()).as_posix()


def _get_user_folder(asset: Asset, data_dir: Path | None) -> Path | None:
    is_encoder = asset.kind == "encoder"
    return assets.encoder_folder(asset.owner, data_dir) if is_encoder else data_dir


def _fetch_from_hub(asset: Asset, *, offline: bool) -> dict[str, Path]:
    from huggingface_hub.file_download import repo_folder_name

    from bench.data.hub_files import PATTERNS, fetch

    folder = fetch(asset.repository, asset.revision, asset.owner, offline=offline).resolve()
    repository = repo_folder_name(repo_id=asset.repository, repo_type="model")
    files = sorted({path for pattern in PATTERNS for path in folder.glob(pattern)})
    return {f"{repository}/snapshots/{asset.revision}/{path.name}": path for path in files}
