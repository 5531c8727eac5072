"""Prepared data sets as one self-contained page, and its summary as Markdown.

The page holds numbers, category names and what the cards say; no titles and no histories, for most
licenses forbid to redistribute data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.cards import DatasetCard
from bench.data.prepared import Prepared
from bench.data.verification import DataCheck, verify
from bench.report.data_pages.charts import Picture, draw_pictures, format_share
from bench.report.data_pages.description import QUANTILES, Description, describe
from bench.report.format import NO_VALUE, format_value
from bench.report.render.html import fill_template
from bench.report.render.markdown import fill_markdown
from bench.report.render.pages import write_pages

FOLDER = "datasets"
TITLE = "Data sets"
SEQUENCES = (
    "The papers count different things under one word: SPRec's “#Sequences” are windows for "
    "MovieLens and, as far as its numbers tell, users for Goodreads and CDs. So each definition "
    "is counted separately."
)
DEFINITIONS = {
    "users": "with an interaction left after filtering",
    "users with a sample": "with a history long enough for at least one sample",
    "windows": "samples: a target and the history before it",
}
VERDICTS = {"ok": ("ok", "ok"), "note": ("note", "notes"), "fails": ("fails", "fail")}
SIZES = ("users", "items", "interactions")


@dataclass(frozen=True, kw_only=True)
class DataBlock:
    """All that the page says about one data set.

    Attributes:
        description: Its numbers; findings: results of its checks; pictures: its distributions.
        notes: From the preparation, in sentences.
    """

    name: str
    card: DatasetCard
    fingerprint: str
    description: Description
    findings: tuple[DataCheck, ...]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]

    @property
    def checks(self) -> str:
        """Number of checks by verdict: "5 ok, 2 notes"."""
        counts: Counter[str] = Counter(finding.verdict for finding in self.findings)
        return ", ".join(
            f"{counts[verdict]} {singular if counts[verdict] == 1 else plural}"
            for verdict, (singular, plural) in VERDICTS.items()
            if counts[verdict]
        )

    @property
    def sizes(self) -> list[str]:
        """Users, items, interactions, windows, density and checks, for the table of all sets."""
        counts = self.description.counts
        return [
            *(f"{counts[name]:,}" if name in counts else NO_VALUE for name in SIZES),
            f"{self.description.sequences['windows']:,}",
            format_density(self.description.density),
            self.checks,
        ]

    @property
    def sequences(self) -> list[tuple[str, int, str]]:
        """Each definition of a sequence: name, number, meaning."""
        return [
            (name, number, DEFINITIONS.get(name, "samples of that split"))
            for name, number in self.description.sequences.items()
        ]

    @property
    def numbers(self) -> list[tuple[str, str]]:
        """Counts and single numbers, each with its label."""
        description = self.description
        gini = format_value(description.popularity_gini, digits=3)
        return [
            *((name, f"{number:,}") for name, number in description.counts.items()),
            ("density", format_density(description.density)),
            ("samples whose target is in their own history", format_share(description.repeats)),
            ("Gini coefficient of item popularity", gini),
            (
                "interactions with the most popular tenth of the items",
                format_share(description.top_tenth),
            ),
        ]

    @property
    def quantiles(self) -> list[tuple[str, dict[str, float]]]:
        """The distributions as numbers, for those who do not see the pictures."""
        description = self.description
        return [
            ("interactions per user", description.sequence_lengths),
            ("items per sample history", description.history_lengths),
            ("interactions per item", description.item_popularity),
            ("words per title", description.title_words),
        ]


def format_density(value: float) -> str:
    """Write a density in percent with three significant digits: 0.0630 becomes "6.30 %"."""
    return f"{100 * value:#.3g} %".replace(". ", " ")


def format_quantile(value: float) -> str:
    """Write a quantile or a mean: without decimals where it is a whole number, else with one."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def describe_block(name: str, card: DatasetCard, prepared: Prepared) -> DataBlock:
    """Describe, check and draw one data set."""
    description = describe(prepared)
    return DataBlock(
        name=name,
        card=card,
        fingerprint=prepared.fingerprint,
        description=description,
        findings=tuple(verify(prepared, card)),
        pictures=tuple(draw_pictures(prepared, description.categories)),
        notes=prepared.notes,
    )


def render_data(items: Sequence[tuple[str, DatasetCard, Prepared]], folder: Path) -> list[Path]:
    """Write README.md and index.html of data sets, in this order, to `<folder>/datasets/`."""
    blocks = [describe_block(*item) for item in items]
    pages = {"README.md": data_markdown(blocks), "index.html": data_html(blocks)}
    return write_pages({name: text.encode() for name, text in pages.items()}, folder / FOLDER)


def data_html(blocks: Sequence[DataBlock]) -> str:
    """Render the page."""
    return fill_template(
        "data.html.j2",
        title=TITLE,
        blocks=blocks,
        sequences=SEQUENCES,
        quantile_names=[*QUANTILES, "mean"],
        format_quantile=format_quantile,
        format_share=format_share,
    )


def data_markdown(blocks: Sequence[DataBlock]) -> str:
    """Render the summary: one table of all data sets, then each data set."""
    return fill_markdown("data.md.j2", title=TITLE, blocks=blocks, sequences=SEQUENCES)
