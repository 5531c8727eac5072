"""What stages read that no stage makes: raw files, sentence encoders and backbones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.config import plugins
from bench.config.cards import DatasetCard, RawFile
from bench.data import assets
from bench.data.encoders import encoder_card
from bench.data.user_files import chosen_file
from bench.errors import BenchError
from bench.hashing import Job
from bench.plan import Stage

READS_RAW_FILES = ("prepare", "lists")


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file of the asset cache, or a backbone's folder as the hub's own cache holds it.

    Attributes:
        kind: What it is for.
        owner: Name of the card.
        license: The card's license note.
        homepage: Where a person would look for it.
        file: What the card says of the file; None for a folder of the hub.
        repository: On the hub, with `revision`, its commit; empty for a file.
    """

    kind: Literal["data", "encoder", "backbone"]
    owner: str
    license: str
    homepage: str | None
    file: RawFile | None = None
    repository: str = ""
    revision: str = ""

    @property
    def name(self) -> str:
        """The file's name, or the repository's."""
        return self.file.name if self.file else self.repository


def forbids_passing_on(license: str) -> bool:
    """Tell whether a license note says, in these words, that there is no redistribution."""
    return "no redistribution" in license.lower()


def needed(stages: Iterable[Stage]) -> list[Asset]:
    """List what the stages read from outside, each asset once, in the stages' order.

    A folder that the user names with `--model-path` and a file of answers are the user's own and
    not among them (see `left_out`).
    """
    found: list[Asset] = []
    for stage in stages:
        args: dict[str, Any] = dict(stage.args)
        if stage.kind in READS_RAW_FILES:
            found += _raw_files(args["name"], args["checksums"])
        elif stage.kind == "gguf":
            found.append(_backbone(args["name"], file=True))
        elif stage.kind == "hub" and args.get("repository"):
            found.append(_backbone(args["name"], file=False))
        if args.get("encoder_checksums"):
            found += _encoder(args["encoder"])
    return list(dict.fromkeys(found))


def left_out(stages: Iterable[Stage]) -> list[str]:
    """Say, in sentences, what stages read of the user's own that is no asset."""
    notes = []
    for stage in stages:
        if stage.kind == "hub" and stage.args.get("checksum"):
            notes.append(
                f"The folder of {stage.args['name']} (--model-path) is your own: take it along "
                "and name it again."
            )
        if stage.kind == "responses":
            notes.append(
                f"Answers of {stage.args['writer']} come from $BENCH_RESPONSES or an endpoint: "
                "take the file along and name it again."
            )
    return list(dict.fromkeys(notes))


def _raw_files(name: str, checksums: dict[str, str | None]) -> list[Asset]:
    card: DatasetCard = plugins.dataset_card(name)
    own = card.lists.files if card.lists else {}
    whole = card.model_copy(update={"files": {**card.files, **own}})
    return [
        Asset(
            kind="data",
            owner=name,
            license=card.license,
            homepage=card.homepage,
            file=chosen_file(whole, role, sha256),
        )
        for role, sha256 in checksums.items()
    ]


def _encoder(name: str) -> list[Asset]:
    card = encoder_card(name)
    return [
        Asset(kind="encoder", owner=name, license=card.license, homepage=card.homepage, file=file)
        for file in card.files.values()
    ]


def _backbone(name: str, *, file: bool) -> Asset:
    card = plugins.model_card(name)
    return Asset(
        kind="backbone",
        owner=name,
        license=card.license,
        homepage=card.homepage or None,
        file=card.files["gguf"] if file else None,
        repository="" if file else card.repository,
        revision="" if file else card.revision or "",
    )


def at_hand(asset: Asset, data_dir: Path | None) -> dict[str, Path]:
    """Return the asset's files by their place in its cache; none where it must be fetched."""
    if asset.file is None:
        try:
            return fetch(asset, data_dir=data_dir, offline=True)
        except BenchError:
            return {}
    path = assets.local_file(asset.file, _own_folder(asset, data_dir))
    return {} if path is None else {place(asset.file): path}


def fetch(asset: Asset, *, data_dir: Path | None, offline: bool) -> dict[str, Path]:
    """Return the asset's checked files by their place in its cache, fetched where need be.

    Raises:
        BenchError: It cannot be had, or is not what the card says.
    """
    if asset.file is None:
        return _hub_folder(asset, offline=offline)
    path = assets.fetch(
        asset.file,
        data_dir=_own_folder(asset, data_dir),
        offline=offline,
        card_name=asset.owner if asset.kind == "data" else f"the {asset.kind} {asset.owner}",
        license=asset.license,
        homepage=asset.homepage,
    )
    return {place(asset.file): path}


def place(file: RawFile) -> str:
    """Name a file's place inside the asset cache."""
    return assets.cached_place(file).relative_to(assets.cache_folder()).as_posix()


def _own_folder(asset: Asset, data_dir: Path | None) -> Path | None:
    """Return where the user's own copy may lie: an encoder's in a subfolder of its name."""
    if asset.kind != "encoder" or data_dir is None:
        return data_dir
    own = data_dir / asset.owner
    return own if own.is_dir() else None


def _hub_folder(asset: Asset, *, offline: bool) -> dict[str, Path]:
    from huggingface_hub.file_download import repo_folder_name

    from bench.stages import hub

    with tempfile.TemporaryDirectory() as out:
        job = Job(out=Path(out), offline=offline)
        hub.run(job, name=asset.owner, repository=asset.repository, revision=asset.revision)
        folder = Path(json.loads((job.out / hub.POINTER).read_text())["folder"])
    known = repo_folder_name(repo_id=asset.repository, repo_type="model")
    files = sorted({path for pattern in hub.PATTERNS for path in folder.glob(pattern)})
    return {f"{known}/snapshots/{asset.revision}/{path.name}": path for path in files}
