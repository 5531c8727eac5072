"""Small charts of a data set as inline SVG: lengths, popularity, categories, title words.

They contain counts and category names only, never an item's title or a user's history.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from bench.data.prepared import Prepared
from bench.report.format import format_count, single_line
from bench.report.render import svg

WIDTH, HEIGHT = 300, 212
LEFT, RIGHT, TOP, BOTTOM = 40, WIDTH - 8, 24, 156
LABEL_CHARS = 14
LAST_WORDS = 24
NUM_POINTS = 80
STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


class Picture(NamedTuple):
    """A chart with its heading and a sentence that says what it shows."""

    heading: str
    text: str
    svg: Markup | None


class Bin(NamedTuple):
    """One bar of a histogram: `start` is its tick, `label` its range, `num` its count."""

    start: str
    label: str
    num: int


def draw_pictures(prepared: Prepared, categories: Mapping[str, float]) -> list[Picture]:
    """Draw a data set; `categories` are the shares of its tracked categories, from `describe`."""
    lengths = np.bincount(prepared.users)
    popularity = np.bincount(prepared.items, minlength=len(prepared.catalog))
    words = np.array([len(title.split()) for title in prepared.catalog.titles], dtype=np.int64)
    by_rank = "Interactions per item by popularity rank, logarithmic axes."
    if unused := int(np.count_nonzero(popularity == 0)):
        are = "is" if unused == 1 else "are"
        by_rank += f" {format_count(unused, 'item')} without any {are} omitted."
    shares = "Tracked categories in the training interactions."
    return [
        Picture(
            "Sequence lengths",
            "Interactions per user, in growing ranges.",
            histogram(ratio_bins(lengths[lengths > 0]), "users", "interactions per user"),
        ),
        Picture("Item popularity", by_rank, rank_curve(popularity)),
        Picture(
            "Category shares",
            shares if categories else "No category is tracked.",
            share_bars(categories),
        ),
        Picture(
            "Title lengths",
            "Words per title, split on white space.",
            histogram(word_bins(words), "items", "words per title"),
        ),
    ]


def ratio_bins(values: NDArray[np.integer]) -> list[Bin]:
    """Count values of at least 1 in bins that grow by about 1.4; round edges, no empty ends."""
    if not len(values):
        return []
    digits = range(len(str(int(values.max()))) + 1)
    edges = sorted({math.ceil(step * 10.0**power) for power in digits for step in STEPS})
    nums = np.histogram(values, bins=np.array(edges))[0].tolist()
    filled = [index for index, num in enumerate(nums) if num]
    ranges = [(num, low, high - 1) for num, (low, high) in zip(nums, pairwise(edges), strict=True)]
    return [
        Bin(f"{low:,}", f"{low:,}" if low == last else f"{low:,} to {last:,}", num)
        for num, low, last in ranges[filled[0] : filled[-1] + 1]
    ]


def word_bins(lengths: NDArray[np.integer]) -> list[Bin]:
    """Count titles by number of words; the last bar collects the long tail."""
    if not len(lengths):
        return []
    nums = np.bincount(np.minimum(lengths, LAST_WORDS)).tolist()
    first = next(index for index, num in enumerate(nums) if num)
    return [
        Bin(f"{words}", f"{words} or more" if words == LAST_WORDS else f"{words}", num)
        for words, num in enumerate(nums[first:], first)
    ]


def histogram(bins: Sequence[Bin], noun: str, axis: str) -> Markup | None:
    """Draw bars of equal width, their heights in percent of the total; None without any value."""
    total = sum(bar.num for bar in bins)
    if not total:
        return None
    fitted = svg.fit_scale(
        [0.0, max(100 * bar.num / total for bar in bins)], BOTTOM, TOP, num_ticks=3
    )
    y = replace(fitted, low=0.0)  # bars stand on the axis
    base = y(0.0)
    step = (RIGHT - LEFT) / max(6, len(bins))
    widest = max(len(bar.start) for bar in bins)
    every = math.ceil((svg.CHAR_WIDTH * widest + 6) / step)
    parts = [
        svg.horizontal_grid(y, LEFT, RIGHT),
        svg.text(2, TOP - 10, f"% of {noun}", "start", "axis"),
    ]
    for index, bar in enumerate(bins):
        x, top = LEFT + step * index, y(100 * bar.num / total)
        title = f"{axis}, {bar.label}: {bar.num:,} {noun}, {100 * bar.num / total:.1f} %"
        parts.append(_bar(x + 1, top, step - 2, base - top, title))
        if index % every == 0:
            parts.append(svg.text(x + step / 2, base + 16, bar.start, "middle", "tick"))
    parts.append(svg.line(LEFT, base, RIGHT, base, "zero"))
    parts.append(svg.text((LEFT + RIGHT) / 2, HEIGHT - 14, axis, "middle", "axis"))
    return svg.picture(WIDTH, HEIGHT, f"Histogram of {axis}", parts)


def rank_curve(popularity: NDArray[np.integer]) -> Markup | None:
    """Draw interactions against rank, most popular first, on logarithmic axes; None without any."""
    ranked = np.sort(popularity[popularity > 0])[::-1]
    if not len(ranked):
        return None
    powers = [max(1, math.ceil(math.log10(end) - 1e-9)) for end in (len(ranked), int(ranked[0]))]

    def position(rank: float, num: float) -> tuple[float, float]:
        return (
            LEFT + (RIGHT - LEFT) * math.log10(rank) / powers[0],
            BOTTOM - (BOTTOM - TOP) * math.log10(num) / powers[1],
        )

    # Ranks in steps of equal ratio: few points suffice on a logarithmic axis.
    steps = np.arange(NUM_POINTS + 1) / NUM_POINTS
    ranks = sorted({round(len(ranked) ** step) for step in steps.tolist()})
    points = [position(rank, float(ranked[rank - 1])) for rank in ranks]
    parts = [svg.text(2, TOP - 10, "interactions", "start", "axis")]
    for power in range(powers[0] + 1):
        x, _ = position(10.0**power, 1)
        parts.append(svg.line(x, TOP, x, BOTTOM, "grid"))
        anchor = "end" if power == powers[0] else "middle"
        parts.append(svg.text(min(x, RIGHT), BOTTOM + 16, short_number(10**power), anchor, "tick"))
    for power in range(powers[1] + 1):
        _, y = position(1, 10.0**power)
        parts.append(svg.line(LEFT, y, RIGHT, y, "grid"))
        parts.append(svg.text(LEFT - 6, y + 4, short_number(10**power), "end", "tick"))
    parts.append(svg.polyline(points, "curve"))
    parts.append(svg.text((LEFT + RIGHT) / 2, HEIGHT - 14, "rank of the item", "middle", "axis"))
    title = (
        f"Interactions by rank: {ranked[0]:,} at the first of {format_count(len(ranked), 'item')}"
    )
    return svg.picture(WIDTH, HEIGHT, title, parts)


def share_bars(shares: Mapping[str, float]) -> Markup | None:
    """Draw one bar per category, in the given order, with its share in percent."""
    if not shares:
        return None
    left, right, step = svg.CHAR_WIDTH * LABEL_CHARS, WIDTH - 52, 18
    widest = max(shares.values()) or 1.0
    parts = []
    for index, (name, share) in enumerate(shares.items()):
        y = 10 + step * index
        parts.append(svg.text(left - 6, y + 11, single_line(name, LABEL_CHARS), "end", "tick"))
        length = (right - left) * share / widest
        title = f"{single_line(name)}: {format_share(share)}"
        parts.append(_bar(left, y + 1, length, step - 5, title))
        parts.append(svg.text(left + length + 6, y + 11, format_share(share), "start", "tick"))
    parts.append(svg.line(left, 8, left, 10 + step * len(shares), "zero"))
    height = max(HEIGHT, 20 + step * len(shares))
    return svg.picture(WIDTH, height, "Shares of the tracked categories", parts)


def _bar(x: float, y: float, width: float, height: float, title: str) -> Markup:
    return Markup(
        '<rect class="column" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
        "<title>{}</title></rect>"
    ).format(x, y, width, height, title)


def format_share(share: float) -> str:
    """Write a share: "18.1 %"."""
    return f"{100 * share:.1f} %"


def short_number(power_of_ten: int) -> str:
    """Write a power of ten for an axis: 1, 10, 100, 1k, 10k, 100k, 1M."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if power_of_ten >= unit:
            return f"{power_of_ten // unit}{letter}"
    return f"{power_of_ten}"
