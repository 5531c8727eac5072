"""The index of boards: who leads on which data, against the floor, and the papers' claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from bench.plan.board_selection import split_title
from bench.report.claims.verdict import PublishedVerdict, ReproducedVerdict
from bench.report.format import format_completeness, format_count, format_value, single_line
from bench.report.render.html import describe_run, fill_template
from bench.report.render.markdown import fill_markdown
from bench.report.table import BoardTable, FloorVerdict, Lead
from bench.results.load import ResultSet
from bench.stats.descriptions import join_words

T = TypeVar("T")

FLOOR_WORDS: dict[FloorVerdict, str] = {
    "above": "above the floor",
    "below": "below the floor",
    "undecided": "undecided",
    "not tested": "not tested",
    "no result": "not compared: one side has no result",
    "no floor": "no floor row",
}
PUBLISHED_WORDS: dict[PublishedVerdict, str] = {
    "yes": "hold",
    "partly": "hold in part",
    "no": "do not hold",
    "figure": "only plotted",
    "run": "not printed",
}
REPRODUCED_WORDS: dict[ReproducedVerdict, str] = {
    "holds": "hold",
    "fails": "do not hold",
    "undecided": "undecided",
    "shown": "shown without a test",
    "not comparable": "not comparable",
    "not run": "not run",
}
LEGEND = (
    "Best row: of the ranked rows, by the board’s main metric; better: p ≤ .05 after Holm, over "
    "users and training seeds. The floor is the best item-ID model trained on all rows, which "
    "language models rarely are. Not comparable: run with another backbone, budget or data than "
    "the paper’s. A statement of theory holds if a unit test proves it."
)
HEADS = ("Data set", "Best row", "Certainty", "Floor", "Claims", "Trials")


class IndexEntry(BaseModel):
    """A board in the index of boards, as its table.json tells it.

    Attributes:
        name: Of its folder; board: name of the board.
        title: As on its page; changes: what was changed for this run, empty for nothing.
        scope: "Small budget …", or empty.
        datasets: Titles of its data sets; missing: of those without a result.
        leads: The best ranked row, by data set.
        claims: Published and reproduced verdict of each claim that it shows, by id.
        num_rows: Of its table; status: completeness in words.
        paper: Title of the paper that it is about; empty for a board of our own.
        url: Where the paper can be read.
        note: In place of the best rows, on tables without any.
        ran: Backbone and date of its results; empty without any.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    board: str
    title: str
    changes: str = ""
    scope: str = ""
    datasets: tuple[str, ...]
    missing: tuple[str, ...] = ()
    leads: dict[str, Lead] = {}
    claims: dict[str, tuple[PublishedVerdict, ReproducedVerdict]] = {}
    num_rows: int
    status: str
    paper: str = ""
    url: str = ""
    note: str = ""
    ran: str = ""

    @classmethod
    def of_table(cls, table: BoardTable, results: ResultSet | None = None) -> IndexEntry:
        """Summarize a board."""
        title, changes = split_title(table.title)
        return cls(
            name=table.page,
            board=table.name,
            title=title,
            changes=changes,
            scope=table.budget.partition(":")[0],
            datasets=tuple(single_line(block.title) for block in table.datasets),
            missing=tuple(
                single_line(block.title) for block in table.datasets if not block.has_results
            ),
            leads={single_line(b.title): b.lead for b in table.datasets if b.lead is not None},
            claims={line.id: (line.published_verdict, line.verdict) for line in table.claims},
            num_rows=len({row.name for _, row in table.rows}),
            status=format_completeness(table.completeness),
            paper=table.source.title if table.source else "",
            url=table.source.url if table.source else "",
            ran=describe_run(table, results, brief=True),
        )

    @property
    def setup(self) -> list[str]:
        """What was changed, and what its results were computed with; empty parts are left out."""
        changes = f"Changed: {self.changes}" if self.changes else self.scope
        return [text for text in (changes, self.ran) if text]

    @property
    def lines(self) -> list[Line]:
        """One line per data set with results, then one that names the others."""
        if self.note:
            return [Line(join_words(self.datasets), (self.note, ""), ("", ""), ("", ""))]
        lines = [
            describe_lead(title, self.leads.get(title))
            for title in self.datasets
            if title not in self.missing
        ]
        if self.missing:
            lines.append(Line(join_words(self.missing), ("no result", ""), ("", ""), ("", "")))
        return lines


class Line(NamedTuple):
    """One data set of a board: each text with a second, quiet one."""

    dataset: str
    best: tuple[str, str]
    certainty: tuple[str, str]
    floor: tuple[str, str]


def describe_lead(dataset: str, lead: Lead | None) -> Line:
    """Say which row is the best on a data set, how certain that is, and where the floor is."""
    if lead is None:
        return Line(dataset, ("no metric of accuracy", ""), ("", ""), ("", ""))
    value = f"{lead.metric} {format_value(lead.mean)}"
    floor = f"{lead.floor_row} {format_value(lead.floor_mean)}" if lead.floor_row else ""
    best = (single_line(lead.row), value) if lead.row else ("no ranked row has a result", "")
    certainty = ("", "")
    if lead.without_hit:
        best = ("no ranked row has a hit", value)
    elif lead.row:
        untested = lead.num_others - lead.num_tested
        notes = [lead.decisive or "", f"{untested} not tested" if untested else ""]
        others = format_count(lead.num_others, "other")
        text = f"better than {lead.num_beaten} of {others}" if lead.num_others else "no other row"
        certainty = (text, "; ".join(filter(None, notes)))
    return Line(dataset, best, certainty, (FLOOR_WORDS[lead.floor], single_line(floor)))


def summarize(entries: Sequence[IndexEntry]) -> list[tuple[str, str]]:
    """Answer in one sentence each: who leads, is the floor beaten, do the claims hold."""
    leads = [lead for entry in entries for lead in entry.leads.values() if lead.row]
    hits = [lead for lead in leads if not lead.without_hit]
    clear = [lead for lead in hits if lead.num_others == lead.num_beaten > 0]
    answers = []
    if leads:
        text = (
            f"Of {format_count(len(leads), 'result')} (a board on a data set), {len(hits)} have a "
            f"ranked row with a hit. In {len(clear)} of these the best row is significantly better "
            "than all other ranked rows."
        )
        answers.append(("Who leads", text))
        sides = _count([lead.floor for lead in hits], FLOOR_WORDS)
        text = (
            "The best row, of a language model or not, against the best item-ID model that is "
            f"trained on all rows: {sides or 'no result'}."
        )
        answers.append(("The floor", text))
    if claims := merge_claims(entries):
        answers.append(("The papers’ claims", describe_claims(claims)))
    return answers


def merge_claims(
    entries: Iterable[IndexEntry],
) -> dict[str, tuple[PublishedVerdict, ReproducedVerdict]]:
    """Merge the claims of boards by id."""
    return {name: verdicts for entry in entries for name, verdicts in entry.claims.items()}


def describe_claims(claims: Mapping[str, tuple[PublishedVerdict, ReproducedVerdict]]) -> str:
    """Count verdicts: "2 claims. By the published numbers: 2 × hold. By our runs: …"."""
    published = _count([each for each, _ in claims.values()], PUBLISHED_WORDS)
    return (
        f"{format_count(len(claims), 'claim')}. By the published numbers: {published}. "
        f"By our runs: {count_reproduced(claims)}."
    )


def count_reproduced(claims: Mapping[str, tuple[PublishedVerdict, ReproducedVerdict]]) -> str:
    """Count our verdicts: "2 × hold, 17 × not comparable"."""
    return _count([each for _, each in claims.values()], REPRODUCED_WORDS)


def _count(values: Iterable[T], words: Mapping[T, str]) -> str:
    counts = Counter(values)
    return ", ".join(f"{counts[value]} × {text}" for value, text in words.items() if counts[value])


def group_by_paper(entries: Sequence[IndexEntry]) -> dict[str, list[IndexEntry]]:
    """Group boards by the title of their paper, those of this project first."""
    papers = dict.fromkeys(["", *(entry.paper for entry in entries)])
    groups = {paper: [entry for entry in entries if entry.paper == paper] for paper in papers}
    return {paper: group for paper, group in groups.items() if group}


def index_html(entries: Sequence[IndexEntry], links: Mapping[str, str] | None = None) -> str:
    """Render the index of boards as a page; `links` are addresses by their text."""
    return fill_template("index.html.j2", links=links or {}, **_describe_index(entries))


def index_markdown(entries: Sequence[IndexEntry]) -> str:
    """Render the index of boards as Markdown."""
    return fill_markdown("index.md.j2", **_describe_index(entries))


def _describe_index(entries: Sequence[IndexEntry]) -> dict[str, Any]:
    return {
        "groups": group_by_paper(entries),
        "heads": HEADS,
        "legend": LEGEND,
        "summary": summarize(entries),
        "merge_claims": merge_claims,
        "describe_claims": describe_claims,
        "count_reproduced": count_reproduced,
    }
