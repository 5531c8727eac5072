"""Prepared data sets as one self-contained page, and its summary as Markdown.

The page holds numbers, category names and what the cards say; no title and no history, for most
licenses forbid to pass data on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.cards import DatasetCard
from bench.data.prepared import Prepared
from bench.data.verification import Finding, verify
from bench.report.data_pages.charts import Picture, percentage, pictures
from bench.report.data_pages.description import QUANTILES, Description, describe
from bench.report.format import count, listed, number
from bench.report.render.html import fill_template
from bench.report.render.markdown import escape, grid
from bench.report.render.pages import write_pages

FOLDER = "datasets"
TITLE = "The data sets"
SEQUENCES = (
    "The papers count different things under one word: SPRec's “#Sequences” are windows for "
    "MovieLens and, as far as its numbers tell, users for Goodreads and CDs. So each definition "
    "is counted by itself."
)
DEFINITIONS = {
    "users": "with an interaction left after the filters",
    "users with a sample": "with a history long enough for at least one",
    "windows": "samples: a target and the history before it",
}
VERDICTS = {"ok": ("ok", "ok"), "note": ("note", "notes"), "fails": ("fails", "fail")}


@dataclass(frozen=True, kw_only=True)
class DataBlock:
    """All that the page says of one data set.

    Attributes:
        name: Name of its card.
        card: The card.
        fingerprint: Of the prepared data.
        description: Its numbers.
        findings: What the checks found.
        pictures: Its distributions.
        notes: From the preparation, in sentences.
    """

    name: str
    card: DatasetCard
    fingerprint: str
    description: Description
    findings: tuple[Finding, ...]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]

    @property
    def checks(self) -> str:
        """The verdicts summed up: "5 ok, 2 notes"."""
        nums: Counter[str] = Counter(finding.verdict for finding in self.findings)
        parts = [
            f"{nums[verdict]} {one if nums[verdict] == 1 else several}"
            for verdict, (one, several) in VERDICTS.items()
            if nums[verdict]
        ]
        return ", ".join(parts)

    @property
    def sequences(self) -> list[tuple[str, int, str]]:
        """Each definition of a sequence: name, how many, what it means."""
        return [
            (name, num, DEFINITIONS.get(name, "samples of that split"))
            for name, num in self.description.sequences.items()
        ]

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The single numbers, in words."""
        found = self.description
        return [
            ("density", density(found.density)),
            ("samples whose target stands in their own history", percentage(found.repeats)),
            ("Gini coefficient of item popularity", number(found.popularity_gini, digits=3)),
            ("interactions with the most popular tenth of the items", percentage(found.top_tenth)),
        ]

    @property
    def quantiles(self) -> list[tuple[str, dict[str, float]]]:
        """The distributions as numbers, for those who do not see the pictures."""
        found = self.description
        return [
            ("interactions a user", found.sequence_lengths),
            ("items in a sample's history", found.history_lengths),
            ("interactions an item", found.item_popularity),
            ("words a title", found.title_words),
        ]


def density(value: float) -> str:
    """Write a density in percent with three digits that count: 0.0630 becomes "6.30 %"."""
    return f"{100 * value:#.3g} %".replace(". ", " ")


def quantile(value: float) -> str:
    """Write a quantile or a mean: whole where it is, else with one decimal."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def block(name: str, card: DatasetCard, prepared: Prepared) -> DataBlock:
    """Describe, check and draw one data set."""
    description = describe(prepared)
    return DataBlock(
        name=name,
        card=card,
        fingerprint=prepared.fingerprint,
        description=description,
        findings=tuple(verify(prepared, card)),
        pictures=tuple(pictures(prepared, description.categories)),
        notes=prepared.notes,
    )


def render_data(items: Sequence[tuple[str, DatasetCard, Prepared]], folder: Path) -> list[Path]:
    """Write the data page to `<folder>/datasets/`.

    Args:
        items: Name, card and prepared data of each data set, in the page's order.
        folder: Where the pages lie.

    Returns:
        The paths of README.md and index.html.
    """
    blocks = [block(*item) for item in items]
    pages = {
        "README.md": data_markdown(blocks).encode(),
        "index.html": data_html(blocks).encode(),
    }
    return write_pages(pages, folder / FOLDER)


def data_html(blocks: Sequence[DataBlock]) -> str:
    """Render the page."""
    return fill_template(
        "data.html.j2",
        title=TITLE,
        blocks=blocks,
        sequences=SEQUENCES,
        quantile_names=[*QUANTILES, "mean"],
        density=density,
        quantile=quantile,
        percentage=percentage,
    )


def data_markdown(blocks: Sequence[DataBlock]) -> str:
    """Render the summary: one table of all, then each data set."""
    heads = ["data set", "users", "items", "interactions", "windows", "density", "checks"]
    names = listed([escape(one.card.title) for one in blocks])
    parts = [
        f"# {TITLE}",
        f"{count(len(blocks), 'data set')}: {names}. "
        "The same with pictures of the distributions: [index.html](index.html).",
        grid(heads, [[escape(one.card.title), *_sizes(one)] for one in blocks]),
        SEQUENCES,
    ]
    for one in blocks:
        parts += _markdown_block(one)
    return "\n\n".join(parts) + "\n"


def _sizes(one: DataBlock) -> list[str]:
    counts, found = one.description.counts, one.description
    return [
        *(f"{counts[name]:,}" if name in counts else "–" for name in ("users", "items")),
        f"{counts['interactions']:,}" if "interactions" in counts else "–",
        f"{found.sequences['windows']:,}",
        density(found.density),
        one.checks,
    ]


def _markdown_block(one: DataBlock) -> list[str]:
    card = one.card
    return [
        f"## {escape(card.title)}",
        f"{escape(card.description)}\n\nLicense: {escape(card.license)}\n\n"
        f"Citation: {escape(card.citation)}\n\n"
        f"Card `{one.name}`, data fingerprint `{one.fingerprint[:12]}`.",
        grid(
            ["sequences by definition", "number"],
            [[f"{name} ({means})", f"{num:,}"] for name, num, means in one.sequences],
        ),
        grid(
            ["count", "number"],
            [
                *([escape(name), f"{num:,}"] for name, num in one.description.counts.items()),
                *([escape(name), value] for name, value in one.facts),
            ],
        ),
        "\n".join(
            f"- **{found.verdict}**: {escape(found.check)}: {escape(found.text)}"
            for found in one.findings
        ),
    ]
