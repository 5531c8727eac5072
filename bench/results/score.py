"""Metrics of rankings or generated texts made elsewhere, read from files of several formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.config.plugins import card_paths
from bench.errors import BenchError, unknown
from bench.results.formats import sprec
from bench.results.score_file import read_catalog, read_ranking, score_ranking


def score(
    file: Path | str,
    *,
    format_: str = "ranking",
    catalog: Path | None = None,
    encoder: str | None = None,
    ks: Sequence[int] = (1, 5),
    categories: Sequence[str] | None = None,
    group_titles: bool = True,
    data_dir: Path | None = None,
    offline: bool = False,
) -> dict[str, float]:
    """Compute every metric of a file of rankings or generated texts made elsewhere.

    Args:
        file: For "ranking", JSONL (also .gz) or parquet with case, user, history, target and items
            (best first); for "sprec", a JSON list with instruction, input, output and predict.
        format_: "ranking" or "sprec".
        catalog: All items with id, title and categories (JSONL, CSV, parquet); without it, metrics
            that need a catalog are left out. For "sprec", the folder of id2name.json.
        encoder: For "sprec", card of the sentence encoder that grounds the texts.
        ks: Lengths of lists.
        categories: For "ranking", categories that fairness metrics track; all by default.
        group_titles: For "ranking", whether catalog items of one title count as one item.
        data_dir: For "sprec", folder of the encoder's files, searched first.
        offline: Whether to never use the network.

    Returns:
        Value of each metric by name, e.g. "NDCG@5".

    Raises:
        BenchError: If a file is not valid, or an option does not apply to the format.
    """
    if format_ == "sprec":
        if categories is not None:
            raise BenchError(
                "--category cannot be used with --format sprec.",
                "The categories are the keys of the folder's genre_dict.json.",
            )
        if catalog is None:
            message = "--format sprec needs the items."
            raise BenchError(message, "Name the folder of id2name.json with --catalog.")
        if encoder is None:
            raise BenchError(
                "--format sprec needs a sentence encoder.",
                f"Name one with --encoder: {', '.join(sorted(card_paths('encoders')))}.",
            )
        rows, folder = sprec.read_sprec(Path(file)), sprec.read_sprec_folder(catalog)
        # Imported late: torch takes seconds, which a file that is not valid should not cost.
        from bench.models.lm.encode.sentence_encoder import load_encoder

        loaded = load_encoder(encoder, offline=offline, data_dir=data_dir)
        return sprec.score_sprec(rows, folder, loaded, list(ks))
    if format_ != "ranking":
        raise unknown("format", format_, ("ranking", "sprec"))
    if encoder is not None or data_dir is not None:
        message = "--encoder and --data-dir cannot be used with --format ranking."
        raise BenchError(message, "Its items are ids, so no text is grounded.")
    items = None if catalog is None else read_catalog(catalog)
    return score_ranking(
        read_ranking(Path(file)),
        items,
        ks=list(ks),
        tracked=categories,
        group_titles=group_titles,
    )
