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
    except LocalEntryNotFoundError as error:
        why = "--offline forbids to fetch it" if offline else "the hub cannot be reached"
        message = f"{name} ({repository}) was not found locally, and {why}."
        raise BenchError(message, manually) from error
    except OSError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        message, hint = f"{name} ({repository}) could not be fetched", manually
        if isinstance(error, GatedRepoError) or status in UNAUTHORIZED:
            message = f"The hub gives {name} ({repository}) only to those who accepted its license"
            hint = (
                f"Accept it at https://huggingface.co/{repository}, log in with `hf auth login` "
                "and run again, or name a folder of yours with --model-path."
            )
        elif isinstance(error, RevisionNotFoundError):
            message = f"{repository} has no commit {revision}"
            hint = f"Fix --model, or `revision` in the card of {name}."
        elif isinstance(error, RepositoryNotFoundError):
            message = f"There is no {repository} on the hub"
            hint = f"Fix --model, or `repository` in the card of {name}."
        elif isinstance(error, HfHubHTTPError):
            message += f": the hub answered {status}"
        else:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            message += f": {first_line.rstrip('.')}"
        raise BenchError(f"{message}.", hint) from error
