"""How long a large data set takes from raw files to the store, and what memory that needs.

Three parts, each in a process of its own so that its peak memory is its own:

- a file of MovieLens-10M's size and form is read, filtered (5-core), split and written, against
  `pandas.read_csv` of the same file, which only reads it;
- what was written is loaded, its fingerprint verified;
- reviews in Amazon's form are read at a fifth of the size and in full: what the peak grows by a
  line is to be the columns, whatever the lines hold.

Rows are generated from a fixed seed. Goals on two cores: prepared within 60 s and 2 GiB, loaded
within 2 s.

    python benchmarks/data.py
    python benchmarks/data.py --ratings 1000000 --reviews 500000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# A child's peak begins at what its parent had when it was started, so numpy and all that it draws
# after it are imported in the children.

NUM_USERS, NUM_MOVIES, NUM_PRODUCTS = 69_878, 10_681, 20_000
BLOCK = 200_000
STARS = ("0.5", "1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5", "5")
TEXT = "Works as it should; the second one I bought. " * 5


def make_ratings(folder: Path, num: int) -> None:
    """Write movies and ratings; a user's lines stand together, but not in order of time."""
    import numpy as np

    rng = np.random.default_rng(0)
    with (folder / "movies.dat").open("w") as file:
        for movie in range(NUM_MOVIES):
            file.write(f"{movie}::Movie number {movie} ({1930 + movie % 80})::Drama|Comedy\n")
    popularity = 1 / np.arange(10, NUM_MOVIES + 10)
    users = np.sort(rng.integers(0, NUM_USERS, num))
    with (folder / "ratings.dat").open("w") as file:
        for begin in range(0, num, BLOCK):
            some = users[begin : begin + BLOCK]
            movies = rng.choice(NUM_MOVIES, len(some), p=popularity / popularity.sum())
            stars = rng.integers(0, len(STARS), len(some))
            times = rng.integers(789_652_009, 1_231_131_736, len(some))
            columns = (column.tolist() for column in (some, movies, stars, times))
            file.writelines(
                f"{user}::{movie}::{STARS[star]}::{at}\n"
                for user, movie, star, at in zip(*columns, strict=True)
            )


def make_reviews(folder: Path, num: int) -> None:
    """Write products and reviews in the form of Amazon's 2018 release."""
    import numpy as np

    rng = np.random.default_rng(0)
    with (folder / "meta.json").open("w") as file:
        for product in range(NUM_PRODUCTS):
            title = f"Product number {product}"
            line = {"asin": f"B{product:09}", "title": title, "category": ["Toys", "Games"]}
            file.write(json.dumps(line) + "\n")
    with (folder / f"reviews-{num}.json").open("w") as file:
        for begin in range(0, num, BLOCK):
            size = min(BLOCK, num - begin)
            highs = (NUM_USERS, NUM_PRODUCTS, 5, 4_000)
            columns = (rng.integers(0, high, size).tolist() for high in highs)
            file.writelines(
                f'{{"overall": {star + 1}.0, "verified": true, "reviewerID": "A{user:013}", '
                f'"asin": "B{product:09}", "reviewText": "{TEXT}", '
                f'"unixReviewTime": {1_400_000_000 + 86_400 * day}}}\n'
                for user, product, star, day in zip(*columns, strict=True)
            )


def prepare(folder: Path, num: int) -> dict[str, float]:
    """Read, filter, split; then write."""
    from bench.config import plugins
    from bench.config.cards import Filters
    from bench.data import prepare as preparation
    from bench.data import prepared

    card = plugins.dataset_card("ml-10m").model_copy(
        update={"filters": Filters(min_user_interactions=5, min_item_interactions=5)}
    )
    paths = {"items": folder / "movies.dat", "interactions": folder / "ratings.dat"}
    begin = time.perf_counter()
    data = preparation.prepare(card, paths)
    middle = time.perf_counter()
    (folder / "prepared").mkdir()
    prepared.write(data, folder / "prepared")
    assert data.counts["lines"] == num
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "writing": seconds - (middle - begin), "samples": len(data.target)}


def pandas_reads(folder: Path, num: int) -> dict[str, float]:
    """Read the ratings alone, as every tutorial does."""
    import pandas as pd

    begin = time.perf_counter()
    names = ["user", "movie", "rating", "time"]
    table = pd.read_csv(folder / "ratings.dat", sep="::", engine="python", names=names)
    assert len(table) == num
    return {"seconds": time.perf_counter() - begin}


def load(folder: Path, _: int) -> dict[str, float]:
    """Load what was written, and time the fingerprint in it once more by itself."""
    from dataclasses import replace

    from bench.data import prepared

    begin = time.perf_counter()
    data = prepared.read(folder / "prepared")
    seconds = time.perf_counter() - begin
    again = replace(data)
    begin = time.perf_counter()
    assert again.fingerprint == data.fingerprint
    return {"seconds": seconds, "fingerprint": time.perf_counter() - begin}


def stream(folder: Path, num: int) -> dict[str, float]:
    """Read products and reviews."""
    from bench.data.readers import read

    paths = {"items": folder / "meta.json", "interactions": folder / f"reviews-{num}.json"}
    begin = time.perf_counter()
    raw = read("amazon", paths, {"release": "2018"})
    assert len(raw.users) == num
    return {"seconds": time.perf_counter() - begin}


PARTS: dict[str, Callable[[Path, int], dict[str, float] | None]] = {
    "make_ratings": make_ratings,
    "make_reviews": make_reviews,
    "prepare": prepare,
    "pandas": pandas_reads,
    "load": load,
    "stream": stream,
}


def child(part: str, folder: Path, num: int) -> dict[str, float]:
    """Run a part in a process of its own; its peak memory comes with its answer, in bytes."""
    command = [sys.executable, __file__, "--part", part, "--folder", str(folder), "--num", str(num)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def answer(part: str, folder: Path, num: int) -> None:
    found = PARTS[part](folder, num) or {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**found, "peak": peak * (1 if sys.platform == "darwin" else 1024)}))


def report(folder: Path, ratings: int, reviews: int) -> None:
    gib = 1 << 30
    if ratings:
        child("make_ratings", folder, ratings)
        ours, theirs = child("prepare", folder, ratings), child("pandas", folder, ratings)
        print(
            f"{ratings:,} ratings prepared: {ours['seconds']:.1f} s ({ours['writing']:.1f} s of it "
            f"writing), peak {ours['peak'] / gib:.2f} GiB, {ours['samples']:,} samples\n"
            f"pandas.read_csv alone: {theirs['seconds']:.1f} s, peak {theirs['peak'] / gib:.2f} "
            f"GiB; ours over pandas {ours['seconds'] / theirs['seconds']:.2f}"
        )
        loaded = child("load", folder, ratings)
        print(
            f"loaded: {loaded['seconds']:.2f} s ({loaded['fingerprint']:.2f} s of it the "
            f"fingerprint), peak {loaded['peak'] / gib:.2f} GiB"
        )
    if reviews:
        peaks = []
        for num in (reviews // 5, reviews):
            child("make_reviews", folder, num)
            read = child("stream", folder, num)
            size = (folder / f"reviews-{num}.json").stat().st_size
            peaks.append(read["peak"])
            print(
                f"{num:,} reviews ({size / num:.0f} bytes a line) read: {read['seconds']:.1f} s, "
                f"peak {read['peak'] / gib:.2f} GiB"
            )
        grown = (peaks[1] - peaks[0]) / (reviews - reviews // 5)
        print(f"the peak grows by {grown:.0f} bytes a line")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--ratings", type=int, default=10_000_054)
    parser.add_argument("--reviews", type=int, default=5_000_000)
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--num", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        answer(asked.part, asked.folder, asked.num)
        return
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), asked.ratings, asked.reviews)


if __name__ == "__main__":
    main()
