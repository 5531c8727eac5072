"""Build preference pairs: the rejected responses of each row, whose target is chosen.

pairs.parquet   one row per pair: `sample`, rejected titles or texts (best first), `smoothing`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.data import prepared
from bench.data.negatives import choose_random_rows, sample_negatives, select_similar
from bench.data.prompts import quotable, response
from bench.data.windows import Windows
from bench.errors import BenchError
from bench.hashing import Job, derive_seed
from bench.models.lm.devices import compute_threads
from bench.models.lm.encode.grounding import TextEncoder, ground, read_vectors
from bench.models.lm.generated_texts import read_texts
from bench.models.seqrec.checkpoint import load_scorer
from bench.plan.preference_stages import PairConfig
from bench.results.ranking_file import read_ranking
from bench.stages.embed import planned_encoder

SPARE = 8
"""One spare pair per this many, as in SPRec's program, which keeps 2,304 for 2,048."""
SCORED_AT_ONCE = 512
DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The N rows with a known target: their indices among all rows, and numbers of their samples.

    `titles` are those of all items, as prompts show them.
    """

    source: prepared.Prepared
    indices: NDArray[np.int64]
    samples: NDArray[np.int64]
    windows: Windows
    titles: Sequence[str]

    def items(self, kind: str, num: int, seed: int, vectors: Path | None) -> list[list[str]]:
        """Choose the titles of `num` items per row: "random", "popular" or "similar" ones."""
        if kind == "similar":
            assert vectors is not None
            negatives = select_similar(self.windows, read_vectors(vectors), self.titles, num)
        else:
            weights = np.ones(len(self.titles))
            if kind == "popular":
                seen = self.source.items[self.source.train_interactions()]
                weights = np.bincount(seen, minlength=len(self.titles)).astype(np.float64)
            rng = np.random.default_rng(derive_seed("pairs", kind, seed))
            negatives = sample_negatives(self.windows, weights, self.titles, num, rng)
        return [[self.titles[item] for item in row] for row in negatives]


def run(job: Job, config: PairConfig, inputs: Mapping[str, Path]) -> None:
    """Write the pairs: of the rows that have rejected responses, the first ones, shuffled.

    Rows with an unknown target are left out. Of the others in order, `max_pairs` and an eighth more
    are kept, shuffled, and the first `max_pairs` become pairs, or fewer where there are no more;
    without `max_pairs` all become pairs.

    Negatives "generated" are the first complete quoted string of each text, as it was generated or
    as the nearest item's title; a row without any has no pair. Several are distinct, none is the
    target, the most probable ones stay, and random items fill up. A single one may be the target,
    as in SPRec, unless it is the nearest item's title: then the row has no pair.

    A row that `random_fraction` chooses has random items whatever was generated for it.

    Raises:
        BenchError: The config and the inputs do not fit together.
    """
    _check(config, inputs)
    rows = _known_rows(inputs["data"], inputs["rows"])
    num_rows = len(prepared.load_rows(inputs["rows"]))
    job.metadata.update({"rows": num_rows, "unknown_targets": num_rows - len(rows.samples)})
    kinds = (config.negatives, *config.combined_with)
    of_kinds = [_reject(kind, job, rows, config, inputs) for kind in kinds]
    generator = np.random.default_rng(derive_seed("pairs", "kinds", config.seed))
    kind_of_row = generator.integers(len(kinds), size=len(rows.samples))
    rejected = [of_kinds[kind][row] for row, kind in enumerate(kind_of_row)]
    if config.combined_with:
        counts = np.bincount(kind_of_row, minlength=len(kinds)).tolist()
        job.metadata["rows_by_kind"] = dict(zip(kinds, counts, strict=True))
    survivors = np.flatnonzero([bool(texts) for texts in rejected])
    if config.max_pairs is not None:
        survivors = survivors[: config.max_pairs + config.max_pairs // SPARE]
    generator = np.random.default_rng(derive_seed("pairs", "order", config.seed))
    selected = survivors[generator.permutation(len(survivors))][: config.max_pairs]
    rejected = [rejected[row] for row in selected]
    smoothing = np.zeros(len(selected))
    if config.smooth:
        first = [texts[0] for texts in rejected]
        smoothing = _smoothing(job, rows, selected, first, inputs["oracle"])
    job.metadata["kept"] = len(selected)
    job.metadata.update(_rejected_metadata(rows, selected, rejected))
    columns = {
        "sample": rows.samples[selected],
        "rejected": pa.array(rejected, pa.list_(pa.string())),
        "smoothing": smoothing,
    }
    pq.write_table(pa.table(columns), job.out / "pairs.parquet")


def _reject(
    kind: str, job: Job, rows: _Rows, config: PairConfig, inputs: Mapping[str, Path]
) -> list[list[str]]:
    """Return the rejected titles of each row, all of one kind."""
    if kind == "generated":
        return _self_play(job, rows, _generated_titles(job, rows, config, inputs), config)
    return rows.items(kind, config.num_negatives, config.seed, inputs.get("vectors"))


def first_quoted(text: str) -> str | None:
    r"""Return the first complete quoted string of a text as a title on one line, or None.

    Example:
        >>> first_quoted('try "Emma" or "Ivanhoe"'), first_quoted('"Emma'), first_quoted('""')
        ('Emma', None, None)
    """
    match = re.search(r'"([^"]*)"', text)
    return quotable(match[1]) or None if match else None


def _check(config: PairConfig, inputs: Mapping[str, Path]) -> None:
    generates = config.negatives == "generated"
    passed = inputs.keys() & {"generated", "recommended"}
    if generates and not passed and config.random_fraction < 1:
        raise BenchError('Negatives "generated" need generated texts.', "Pass `generated`.")
    if not generates and (config.random_fraction or passed):
        raise BenchError(
            f"Negatives are {config.negatives} items, and generated texts were passed as well.",
            'Set negatives = "generated", or leave out `generated` and random_fraction.',
        )
    kinds = {config.negatives, *config.combined_with}
    if "similar" in kinds and not config.encoder:
        raise BenchError("Similar items need an encoder.", "Set `encoder`.")
    if kinds <= {"random", "popular"} and config.encoder:
        raise BenchError(
            f"Negatives that are {config.negatives} items need no encoder.", "Leave it out."
        )
    if config.smooth and config.num_negatives > 1:
        raise BenchError("Label smoothing is for one rejected response.", "Set num_negatives = 1.")


def _known_rows(data: Path, rows: Path) -> _Rows:
    source = prepared.load(data)
    samples = prepared.load_rows(rows)
    indices = np.flatnonzero(source.windows(samples).targets >= 0)
    return _Rows(
        source=source,
        indices=indices,
        samples=samples[indices],
        windows=source.windows(samples[indices]),
        titles=[quotable(title) for title in source.catalog.titles],
    )


def _generated_titles(
    job: Job, rows: _Rows, config: PairConfig, inputs: Mapping[str, Path]
) -> list[list[str]] | None:
    """Read the titles generated for each row, best first; None if all negatives are random."""
    if "recommended" in inputs:
        items = read_ranking(inputs["recommended"]).items[rows.indices]
        return [[rows.titles[item] for item in row[row >= 0]] for row in items]
    if "generated" not in inputs:
        return None
    texts = read_texts(inputs["generated"], rows=prepared.load_rows(inputs["rows"]))
    titles = [
        [title for text in texts[index] if (title := first_quoted(text)) is not None]
        for index in rows.indices
    ]
    if not config.encoder:
        return titles
    encoder = planned_encoder(job, config.encoder, config.encoder_checksums)
    return _nearest_titles(titles, rows.titles, encoder, inputs["vectors"])


def _nearest_titles(
    generated: Sequence[Sequence[str]], titles: Sequence[str], encoder: TextEncoder, vectors: Path
) -> list[list[str]]:
    """Replace generated titles by those of the nearest items."""
    texts = [response(title) for row in generated for title in row]
    nearest: Iterator[str] = iter(())
    if texts:
        ranking = ground(texts, titles, encoder, 1, read_vectors(vectors))
        nearest = (titles[item] for item in ranking.items[:, 0])
    return [[next(nearest) for _ in row] for row in generated]


def _self_play(
    job: Job, rows: _Rows, generated: Sequence[Sequence[str]] | None, config: PairConfig
) -> list[list[str]]:
    """Return each row's rejected titles, generated or random; an empty list for no pair."""
    num, num_rows = config.num_negatives, len(rows.samples)
    generator = np.random.default_rng(derive_seed("pairs", "share", config.seed))
    is_random = choose_random_rows(num_rows, config.random_fraction, generator)
    random_titles: Sequence[Sequence[str]] = [[]] * num_rows
    if num > 1 or is_random.any():
        random_titles = rows.items("random", num, config.seed, None)
    rejected, counts = [], dict.fromkeys(("unparseable", "dropped_as_target", "padded"), 0)
    for row, target in enumerate(rows.windows.targets):
        if is_random[row]:
            rejected.append(list(random_titles[row]))
            continue
        assert generated is not None, "without texts every row is random"
        titles = list(dict.fromkeys(generated[row]))
        counts["unparseable"] += not titles
        if num > 1 or config.encoder:
            others = [title for title in titles if title != rows.titles[target]]
            if num > 1 and titles:
                padding = [title for title in random_titles[row] if title not in others]
                counts["padded"] += max(num - len(others), 0)
                others = [*others, *padding]
            counts["dropped_as_target"] += bool(titles) and not others
            titles = others
        rejected.append(titles[:num])
    job.metadata.update({"random_rows": int(is_random.sum()), **counts})
    return rejected


def _smoothing(
    job: Job, rows: _Rows, selected: NDArray[np.int64], rejected: Sequence[str], oracle: Path
) -> NDArray[np.float64]:
    """Compute the oracle's probability that the rejected item is better, (P,); 0 for no item."""
    first_item: dict[str, int] = {}
    for item, title in enumerate(rows.titles):
        first_item.setdefault(title, item)
    items = np.array([first_item.get(title, -1) for title in rejected], dtype=np.int64)
    targets = rows.windows.targets[selected]
    gaps = np.empty(len(selected))
    with compute_threads(1):
        score = load_scorer(oracle, rows.source.catalog)
        for start in range(0, len(selected), SCORED_AT_ONCE):
            part = slice(start, start + SCORED_AT_ONCE)
            scores = score(rows.windows.histories[selected[part]]).astype(np.float64)
            batch = np.arange(len(scores))
            gaps[part] = scores[batch, items[part]] - scores[batch, targets[part]]
    smoothing = np.where(items >= 0, 1 / (1 + np.exp(-gaps)), 0.0)
    job.metadata["unsmoothed"] = int((items < 0).sum())
    job.metadata["mean_smoothing"] = (
        round(float(smoothing.mean()), DECIMALS) if len(selected) else None
    )
    return smoothing


def _rejected_metadata(
    rows: _Rows, selected: NDArray[np.int64], rejected: Sequence[Sequence[str]]
) -> dict[str, int]:
    """Count the rejected responses that name the target, and those that name an item at all."""
    titles = set(rows.titles)
    targets = [rows.titles[target] for target in rows.windows.targets[selected]]
    return {
        "same_as_target": sum(
            row.count(target) for row, target in zip(rejected, targets, strict=True)
        ),
        "in_catalog": sum(text in titles for row in rejected for text in row),
        "rejected": sum(map(len, rejected)),
    }
