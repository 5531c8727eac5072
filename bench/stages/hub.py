"""Find a backbone of the Hugging Face hub; the artifact is a pointer to the folder of its files.

backbone.json   {"folder": where the files lie}

The files stay where huggingface_hub keeps them, or in the user's own folder: they are large, and
other programs use them, too.
"""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from bench.data.assets import folder_checksum
from bench.errors import BenchError
from bench.hashing import Job

# Never pickles, and none of the copies in other formats that some repositories hold.
PATTERNS = ("model*.safetensors", "*.json", "tokenizer.model")
POINTER = "backbone.json"
UNAUTHORIZED = (401, 403)


def run(
    job: Job,
    *,
    name: str,
    repository: str | None = None,
    revision: str | None = None,
    checksum: str | None = None,
) -> None:
    """Fetch a repository at one commit, or check the user's own folder.

    Args:
        job: Where to write, the user's own folder, whether the network is allowed.
        name: Name of the model's card, for messages.
        repository: On the hub.
        revision: Full hash of its commit.
        checksum: Of the files in the user's own folder, which is then used instead.

    Raises:
        BenchError: The files cannot be had, or are no longer those that were planned with.
    """
    if checksum is not None:
        assert repository is None, "either the hub or the user's own folder"
        folder = _own(job.model_path, name, checksum)
    else:
        assert repository is not None
        assert revision is not None
        folder = _fetched(repository, revision, name, offline=job.offline)
    (job.out / POINTER).write_text(json.dumps({"folder": str(folder.resolve())}))
    files = [path for path in folder.iterdir() if path.is_file()]
    job.facts["bytes"] = sum(path.stat().st_size for path in files)


def _own(folder: Path | None, name: str, checksum: str) -> Path:
    if folder is None:
        raise BenchError(
            f"{name} was planned with a folder of your own, and none is given.",
            "Name it again with --model-path.",
        )
    if folder_checksum(folder) != checksum:
        raise BenchError(
            f"The files of {name} in {folder} changed during the run.", "Start the run again."
        )
    return folder


def _fetched(repository: str, revision: str, name: str, *, offline: bool) -> Path:
    by_hand = (
        f"Fetch it where there is a network (hf download {repository} --revision {revision}), or "
        "name a folder of yours with --model-path."
    )
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(PATTERNS),
                local_files_only=offline,
            )
        )
    except (GatedRepoError, HfHubHTTPError) as error:
        raise _refusal(error, repository, revision, name, by_hand) from error
    except LocalEntryNotFoundError as error:
        why = "--offline forbids to fetch it" if offline else "the hub cannot be reached"
        raise BenchError(f"{name} ({repository}) is not at hand, and {why}.", by_hand) from error
    except OSError as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise BenchError(
            f"{name} ({repository}) could not be fetched: {said[0].rstrip('.')}.", by_hand
        ) from error


def _refusal(
    error: HfHubHTTPError, repository: str, revision: str, name: str, by_hand: str
) -> BenchError:
    status = getattr(error.response, "status_code", None)
    page = f"https://huggingface.co/{repository}"
    if isinstance(error, GatedRepoError) or status in UNAUTHORIZED:
        return BenchError(
            f"The hub gives {name} ({repository}) only to those who accepted its license.",
            f"Accept it at {page}, log in with `hf auth login` and run again, or name a folder of "
            "yours with --model-path.",
        )
    if isinstance(error, RevisionNotFoundError):
        return BenchError(
            f"{repository} has no commit {revision}.", f"Mend `revision` in the card of {name}."
        )
    if isinstance(error, RepositoryNotFoundError):
        return BenchError(
            f"There is no {repository} on the hub.", f"Mend `repository` in the card of {name}."
        )
    return BenchError(
        f"{name} ({repository}) could not be fetched: the hub answered {status}.", by_hand
    )
