"""Files of repositories on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from bench.errors import BenchError

TEXTS = ("*.json", "chat_template.jinja", "tokenizer.model")
"""A model's configuration and tokenizer."""
PATTERNS = ("model*.safetensors", *TEXTS)
"""Never pickles, and none of the copies in other formats that some repositories hold."""
UNAUTHORIZED = (401, 403)


def fetch(
    repository: str,
    revision: str,
    name: str,
    *,
    offline: bool,
    patterns: Sequence[str] = PATTERNS,
) -> Path:
    """Fetch a repository at one revision; return its folder in the cache, named by the commit.

    Raises:
        BenchError: The files cannot be fetched.
    """
    manually = (
        f"Fetch it where there is a network (hf download {repository} --revision {revision}), or "
        "name a folder of yours with --model-path."
    )
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=offline,
            )
        )
    except (GatedRepoError, HfHubHTTPError) as error:
        raise _refusal(error, repository, revision, name, manually) from error
    except LocalEntryNotFoundError as error:
        why = "--offline forbids to fetch it" if offline else "the hub cannot be reached"
        raise BenchError(
            f"{name} ({repository}) was not found locally, and {why}.", manually
        ) from error
    except OSError as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise BenchError(
            f"{name} ({repository}) could not be fetched: {said[0].rstrip('.')}.", manually
        ) from error


def _refusal(
    error: HfHubHTTPError, repository: str, revision: str, name: str, manually: str
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
            f"{repository} has no commit {revision}.",
            f"Fix --model, or `revision` in the card of {name}.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return BenchError(
            f"There is no {repository} on the hub.",
            f"Fix --model, or `repository` in the card of {name}.",
        )
    return BenchError(
        f"{name} ({repository}) could not be fetched: the hub answered {status}.", manually
    )
