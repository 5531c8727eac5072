"""Put preference pairs together: what is rejected beside each row's target.

pairs.parquet   a line a pair: `sample`, the rejected titles or texts, best first, and `smoothing`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.data import prepared
from bench.data.negatives import drawn, replaced, similar
from bench.data.prompts import quotable, response
from bench.data.windows import Windows
from bench.errors import BenchError, unknown
from bench.lm.grounding import TextEncoder, ground
from bench.lm.texts import read_texts
from bench.lm.threads import compute_threads
from bench.records import Job, derive_seed
from bench.seqrec.checkpoint import load_scorer
from bench.stages.embed import planned_encoder, read_vectors

KINDS = ("generated", "random", "popular", "similar")
SPARE = 8
"""One survivor more than is taken in so many, as in SPRec's program: it keeps 2,304 for 2,048."""
SCORED_AT_ONCE = 512
DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The rows with a known target.

    Attributes:
        source: The prepared data.
        places: Where they lie among all rows, shape (N,).
        samples: Their numbers, shape (N,).
        windows: What they are.
        titles: Of all items, as prompts show them.
    """

    source: prepared.Prepared
    places: NDArray[np.int64]
    samples: NDArray[np.int64]
    windows: Windows
    titles: Sequence[str]

    def items(self, kind: str, num: int, seed: int, vectors: Path | None) -> list[list[str]]:
        """Choose the titles of `num` items a row: "random", "popular" or "similar" ones."""
        if kind == "similar":
            assert vectors is not None
            chosen = similar(self.windows, read_vectors(vectors), self.titles, num)
        else:
            weights = np.ones(len(self.titles))
            if kind == "popular":
                seen = self.source.items[self.source.train_interactions()]
                weights = np.bincount(seen, minlength=len(self.titles)).astype(np.float64)
            rng = np.random.default_rng(derive_seed("pairs", kind, seed))
            chosen = drawn(self.windows, weights, self.titles, num, rng)
        return [[self.titles[item] for item in row] for row in chosen]


def run(
    job: Job,
    *,
    take: int | None,
    seed: int,
    negatives: str,
    num: int,
    random_share: float,
    smooth: bool,
    data: Path,
    rows: Path,
    generated: Path | None = None,
    oracle: Path | None = None,
    encoder: str = "",
    encoder_checksums: Mapping[str, str] = MappingProxyType({}),
    vectors: Path | None = None,
) -> None:
    """Write the pairs: of the rows that have rejected responses, the first ones, shuffled.

    Rows with an unknown target are left out. Of the others in order, `take` and an eighth more are
    kept, shuffled, and the first `take` become pairs, or fewer where there are no more; without a
    `take` all do.

    Negatives "generated" are the first complete quoted string of each text, as it was written or
    as the nearest item's title; a row without any has no pair. Several are distinct, none is the
    target, the most probable ones stay, and random items fill up. One alone may be the target, as
    in SPRec, unless it is the nearest item's title: then the row has no pair.

    A row that `random_share` chooses has random items whatever was written for it.

    Raises:
        BenchError: The arguments and inputs do not fit together.
    """
    _refuse(negatives, num, random_share, smooth, generated, oracle, encoder, vectors)
    known = _known_rows(data, rows)
    num_rows = len(prepared.shared_rows(rows))
    job.facts.update({"rows": num_rows, "unknown_targets": num_rows - len(known.samples)})
    if negatives == "generated":
        written = None
        if generated is not None:
            written = _written(known, generated, prepared.shared_rows(rows))
            if vectors is not None:
                model = planned_encoder(job, encoder, encoder_checksums)
                written = _grounded(written, known.titles, model, vectors)
        rejected = _self_played(job, known, written, num, random_share, seed, bool(encoder))
    else:
        rejected = known.items(negatives, num, seed, vectors)
    survivors = np.flatnonzero([bool(texts) for texts in rejected])
    if take is not None:
        survivors = survivors[: take + take // SPARE]
    order = np.random.default_rng(derive_seed("pairs", "order", seed)).permutation(len(survivors))
    chosen = survivors[order][:take]
    kept = [rejected[row] for row in chosen]
    smoothing = np.zeros(len(chosen))
    if oracle is not None:
        smoothing = _smoothing(job, known, chosen, [texts[0] for texts in kept], oracle)
    job.facts["kept"] = len(chosen)
    job.facts.update(_what_they_are(known, chosen, kept))
    columns = {
        "sample": known.samples[chosen],
        "rejected": pa.array(kept, pa.list_(pa.string())),
        "smoothing": smoothing,
    }
    pq.write_table(pa.table(columns), job.out / "pairs.parquet")


def first_quoted(text: str) -> str | None:
    r"""Return the first complete quoted string of a text as a title on one line, or None.

    Example:
        >>> first_quoted('try "Emma" or "Ivanhoe"'), first_quoted('"Emma'), first_quoted('""')
        ('Emma', None, None)
    """
    found = re.search(r'"([^"]*)"', text)
    return quotable(found[1]) or None if found else None


def _refuse(
    negatives: str,
    num: int,
    random_share: float,
    smooth: bool,
    generated: Path | None,
    oracle: Path | None,
    encoder: str,
    vectors: Path | None,
) -> None:
    if negatives not in KINDS:
        raise unknown("kind of negatives", negatives, KINDS)
    written = negatives == "generated"
    if num < 1:
        raise BenchError(f"A pair cannot have {num} rejected responses.", "Give 1 or more.")
    if written and generated is None and random_share < 1:
        raise BenchError("Generated negatives need generated texts.", "Give pairs(generated=...).")
    if not written and (random_share or generated is not None):
        raise BenchError(
            f"Negatives are {negatives} items, and generated ones are asked for, too.",
            'Take negatives="generated", or leave `generated` and `random_share` out.',
        )
    assert bool(encoder) == (vectors is not None), "the plan gives both or none"
    if negatives == "similar" and not encoder:
        raise BenchError("Similar items need an encoder.", "Give pairs(grounded=...).")
    if negatives in ("random", "popular") and encoder:
        raise BenchError(f"Negatives that are {negatives} items need no encoder.", "Leave it out.")
    if smooth != (oracle is not None):
        raise BenchError("`smooth` and an oracle go together.", "Give both or none.")
    if smooth and num > 1:
        raise BenchError("A smoothing is for one rejected response.", "Give num = 1.")


def _known_rows(data: Path, rows: Path) -> _Rows:
    source = prepared.shared(data)
    samples = prepared.shared_rows(rows)
    places = np.flatnonzero(source.windows(samples).targets >= 0)
    return _Rows(
        source=source,
        places=places,
        samples=samples[places],
        windows=source.windows(samples[places]),
        titles=[quotable(title) for title in source.catalogue.titles],
    )


def _written(known: _Rows, generated: Path, rows: NDArray[np.int64]) -> list[list[str]]:
    """Read the titles written for each row, best first."""
    texts = read_texts(generated, rows=rows).texts
    return [
        [title for text in texts[place] if (title := first_quoted(text)) is not None]
        for place in known.places
    ]


def _grounded(
    written: Sequence[Sequence[str]], titles: Sequence[str], encoder: TextEncoder, vectors: Path
) -> list[list[str]]:
    """Replace what was written by the titles of the nearest items."""
    texts = [response(title) for row in written for title in row]
    nearest: Iterator[str] = iter(())
    if texts:
        ranking = ground(texts, titles, encoder, 1, read_vectors(vectors))
        nearest = (titles[item] for item in ranking.items[:, 0])
    return [[next(nearest) for _ in row] for row in written]


def _self_played(
    job: Job,
    known: _Rows,
    written: Sequence[Sequence[str]] | None,
    num: int,
    random_share: float,
    seed: int,
    grounded: bool,
) -> list[list[str]]:
    """Return each row's rejected titles: written ones, or random ones; none for no pair."""
    num_rows = len(known.samples)
    rng = np.random.default_rng(derive_seed("pairs", "share", seed))
    by_chance = replaced(num_rows, random_share, rng)
    others: Sequence[Sequence[str]] = [[]] * num_rows
    if num > 1 or by_chance.any():
        others = known.items("random", num, seed, None)
    rejected, counts = [], dict.fromkeys(("unparseable", "dropped_as_target", "padded"), 0)
    for row, target in enumerate(known.windows.targets):
        if by_chance[row]:
            rejected.append(list(others[row]))
            continue
        assert written is not None, "without texts every row is random"
        titles = list(dict.fromkeys(written[row]))
        counts["unparseable"] += not titles
        if num > 1 or grounded:
            other_titles = [title for title in titles if title != known.titles[target]]
            if num > 1 and titles:
                spare = [title for title in others[row] if title not in other_titles]
                counts["padded"] += max(num - len(other_titles), 0)
                other_titles = [*other_titles, *spare]
            counts["dropped_as_target"] += bool(titles) and not other_titles
            titles = other_titles
        rejected.append(titles[:num])
    job.facts.update({"random_rows": int(by_chance.sum()), **counts})
    return rejected


def _smoothing(
    job: Job, known: _Rows, chosen: NDArray[np.int64], rejected: Sequence[str], oracle: Path
) -> NDArray[np.float64]:
    """Compute the oracle's probability that the rejected item is the better one, shape (P,).

    A text that is no item's title has none, and a smoothing of 0.
    """
    first_item: dict[str, int] = {}
    for item, title in enumerate(known.titles):
        first_item.setdefault(title, item)
    items = np.array([first_item.get(title, -1) for title in rejected], dtype=np.int64)
    targets = known.windows.targets[chosen]
    gaps = np.empty(len(chosen))
    with compute_threads(1):
        score = load_scorer(oracle, known.source.catalogue)
        for start in range(0, len(chosen), SCORED_AT_ONCE):
            part = slice(start, start + SCORED_AT_ONCE)
            scores = score(known.windows.histories[chosen[part]]).astype(np.float64)
            here = np.arange(len(scores))
            gaps[part] = scores[here, items[part]] - scores[here, targets[part]]
    smoothing = np.where(items >= 0, 1 / (1 + np.exp(-gaps)), 0.0)
    job.facts["unsmoothed"] = int((items < 0).sum())
    job.facts["mean_smoothing"] = round(float(smoothing.mean()), DECIMALS) if len(chosen) else None
    return smoothing


def _what_they_are(
    known: _Rows, chosen: NDArray[np.int64], rejected: Sequence[Sequence[str]]
) -> dict[str, int]:
    """Count the rejected responses that name the target, and those that name an item at all."""
    titles = set(known.titles)
    targets = [known.titles[target] for target in known.windows.targets[chosen]]
    return {
        "same_as_target": sum(
            row.count(target) for row, target in zip(rejected, targets, strict=True)
        ),
        "in_catalogue": sum(text in titles for row in rejected for text in row),
        "rejected": sum(map(len, rejected)),
    }
