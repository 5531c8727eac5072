"""Fetch a backbone's GGUF file and convert it; the artifact is a model as transformers saves it."""

from __future__ import annotations

from bench.config.plugins import model_card
from bench.data import assets
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.gguf import convert


def run(job: Job, *, name: str, sha256: str) -> None:
    """Write configuration, weights and tokenizer.

    Args:
        job: Where to write, where the file may lie, whether the network is allowed.
        name: Name of the model's card, which says where the file comes from.
        sha256: The file's.

    Raises:
        BenchError: The card changed since, or the file cannot be had or is no Llama.
    """
    card = model_card(name)
    file = card.files.get("gguf")
    if file is None or file.sha256 != sha256:
        raise BenchError(f"The card of {name} changed during the run.", "Start the run again.")
    path = assets.fetch(
        file,
        data_dir=job.data_dir,
        offline=job.offline,
        card_name=f"the model {name}",
        license=card.license,
        homepage=card.homepage or None,
    )
    job.facts.update(convert(path, job.out))
