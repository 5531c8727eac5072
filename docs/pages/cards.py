"""Pages from cards: data sets, boards, and the models, encoders and budgets on one page each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from bench.config import plugins
from bench.config.cards import BoardCard, DatasetCard, RawFile
from bench.config.plugins import encoder_card
from bench.data.readers import READERS
from bench.data.released_splits import RELEASED_SPLITS
from bench.report.claims.cards import PaperClaims, find_claim_files, load_claims
from bench.report.published import load_published

from . import register
from .markdown import about, anchor, code, document, fields, prose, table

SECTIONS = ("titles", "filters", "split", "categories", "lists")


def pages() -> Iterator[tuple[str, str]]:
    """Yield file names and contents."""
    sets = {name: plugins.dataset_card(name) for name in sorted(plugins.card_paths("datasets"))}
    boards = {name: plugins.board_card(name) for name in sorted(plugins.card_paths("leaderboards"))}
    yield "datasets/index.md", _sets(sets)
    for name, card in sets.items():
        yield f"datasets/{name}.md", _set(name, card, boards)
    yield "boards/index.md", _boards(boards)
    for name, board in boards.items():
        yield f"boards/{name}.md", _board(name, board)
    yield "models.md", _models()


def _sets(sets: Mapping[str, DatasetCard]) -> str:
    rows = [
        (
            f"[`{name}`]({name}.md)",
            prose(card.title),
            f"{card.expected['items']:,}" if "items" in card.expected else "",
            f"{card.expected['interactions']:,}" if "interactions" in card.expected else "",
            "yes" if card.lists else "",
            prose(card.license),
        )
        for name, card in sets.items()
    ]
    return document(
        "Data sets",
        "Cards describe sources and preparation of raw files; no data are shipped."
        " [Add a data set](../add-data-set.md) shows how to write one. Counts are the expected"
        " ones; `bench data stats NAME` counts the actual data.",
        table(("name", "title", "items", "interactions", "lists", "license"), rows),
    )


def _set(name: str, card: DatasetCard, boards: Mapping[str, BoardCard]) -> str:
    reader = inspect.getmodule({**READERS, **RELEASED_SPLITS}[card.reader])
    used = [
        f"[{board}](../boards/{board}.md)" for board, one in boards.items() if name in one.datasets
    ]
    printed = [
        f"“{prose(there)}” in {book.paper}"
        for book in _books()
        for there, ours in book.datasets.items()
        if ours == name
    ]
    parts = [prose(card.description), f"    bench data prepare {name}"]
    parts += [f"- **License:** {prose(card.license)}\n- **Citation:** {prose(card.citation)}"]
    if card.homepage:
        parts.append(f"- **Home page:** <{card.homepage}>")
    if printed:
        parts.append(f"- **In papers:** {', '.join(printed)}")
    parts += ["## Raw files", _files(card.files) or "None, the data are generated."]
    if card.lists and card.lists.files:
        parts += ["For its lists:", _files(card.lists.files)]
    parts += [f"## Reader `{card.reader}`", about(reader), f"Fields: {code(card.fields)}"]
    parts.append("## Preparation")
    for section in SECTIONS:
        part = getattr(card, section)
        ready = card.reader in RELEASED_SPLITS and section not in card.model_fields_set
        if part is not None and not ready:
            parts += [f"### {section}", about(type(part)), fields(part, leave_out=("files",))]
    if card.expected:
        counts = [(key, f"{value:,}") for key, value in card.expected.items()]
        parts += [
            "## Expected counts",
            f"`bench data verify {name}` compares them with the actual data.",
            table(("count", "number"), counts),
        ]
    if used:
        parts += ["## Boards", ", ".join(used)]
    disputed = register.entries_about(name)
    if disputed:
        parts += ["## Where papers and programs disagree", register.written(disputed, 3)]
    return document(prose(card.title), *parts)


def _files(files: Mapping[str, RawFile]) -> str:
    rows = []
    for role, file in files.items():
        places = [
            f"{source.wheel} (package), `{source.path}`"
            if source.wheel
            else f"[{urlsplit(source.url or '').hostname}]({source.url})"
            + (f", `{source.path}`" if source.path else "")
            for source in file.sources
        ]
        size = f"{file.size:,}" if file.size else ""
        checksum = code(file.sha256[:12] + "…") if file.sha256 else "none declared"
        rows.append((code(role), code(file.name), size, checksum, "<br>".join(places)))
    if not rows:
        return ""
    return table(("role", "file", "bytes", "SHA-256", "sources, in order"), rows)


def _books() -> list[PaperClaims]:
    return [load_claims(paper) for paper in sorted(find_claim_files())]


def _boards(boards: Mapping[str, BoardCard]) -> str:
    rows = [
        (f"[`{name}`]({name}.md)", prose(card.title), str(len(card.rows)), _set_links(card))
        for name, card in boards.items()
    ]
    suites = [
        (code(name), prose(card.description), ", ".join(f"[{b}]({b}.md)" for b in card.boards))
        for name in sorted(plugins.card_paths("suites"))
        for card in [plugins.suite_card(name)]
    ]
    return document(
        "Boards",
        "A board is a table: rows × data sets × seeds, and the metrics that become its columns."
        " [Add a board](../add-board.md) shows how to write one.",
        table(("name", "title", "rows", "data sets"), rows),
        "## Suites",
        "A suite is a named set of boards: `bench run --suite quick`.",
        table(("name", "description", "boards"), suites),
    )


def _set_links(card: BoardCard) -> str:
    return ", ".join(f"[`{name}`](../datasets/{name}.md)" for name in card.datasets)


def _board(name: str, card: BoardCard) -> str:
    rows = [
        (
            prose(row.name) + (" (reference)" if row.name in card.references else ""),
            f"[`{row.method}`](../methods/{row.method}.md)",
            code(row.settings) if row.settings else "",
            _model_link(row.model) if row.model else "",
            "" if row.ranked else "not ranked",
        )
        for row in card.rows
    ]
    properties = [
        ("data sets", _set_links(card)),
        ("backbone", _model_link(card.model) if card.model else "none"),
        ("budget", f"[`{card.budget}`](../models.md#{anchor(card.budget)})"),
        ("seeds", str(card.seeds)),
        ("seed of the sampled rows", str(card.data_seed)),
        ("columns", ", ".join(f"[`{one}`](../metrics.md)" for one in card.metrics)),
    ]
    return document(
        prose(card.title),
        prose(card.description),
        f"    bench plan --board {name}\n    bench run --board {name}",
        table(("property", "value"), properties),
        "## Rows",
        table(("row", "method", "settings", "backbone", ""), rows),
        *_describe_paper(name),
    )


def _model_link(name: str) -> str:
    return f"[`{name}`](../models.md#{anchor(name)})"


def _describe_paper(name: str) -> list[str]:
    """Describe the paper that a board mirrors: published tables, and claims."""
    published = load_published().numbers
    for book in _books():
        claims = [claim for claim in book.claims if name == claim.boards[0]]
        if not claims:
            continue
        rows = {row.name for row in plugins.board_card(name).rows} & set(book.rows)
        tables = sorted({book.rows[row].table for row in rows} - {""})
        counts = {
            number: sum((p.paper, p.table) == (book.paper, number) for p in published)
            for number in tables
        }
        sources = [
            f"`leaderboards/published/{book.paper.lower()}_table{number}.csv` ({count} numbers)"
            for number, count in counts.items()
            if count
        ]
        lines = [
            (claim.id, claim.section, prose(claim.sentence), claim.verdict) for claim in claims
        ]
        return [
            "## The paper",
            f"It mirrors *{prose(book.title)}*. Published numbers of its rows: "
            + (", ".join(sources) if sources else "none")
            + ".",
            "### Claims",
            f"Statements of the paper about these rows, judged by the published numbers;"
            f" `bench claims --board {name}` adds the verdict by our results.",
            table(("claim", "section", "sentence", "published"), lines),
        ]
    return ["This board mirrors no table of a paper."]


def _models() -> str:
    parts: list[str] = ["Backbones of rows, sentence encoders that ground titles, and budgets."]
    parts.append("## Backbones")
    for name in sorted(plugins.card_paths("models")):
        model = plugins.model_card(name)
        parts += [
            f"### {name}",
            prose(model.description),
            fields(model, leave_out=("description",)),
        ]
    parts.append("## Sentence encoders")
    for name in sorted(plugins.card_paths("encoders")):
        encoder = encoder_card(name)
        parts += [f"### {name}", prose(encoder.description)]
        parts.append(fields(encoder, leave_out=("description", "files")))
        parts.append(_files(encoder.files))
    parts.append("## Budgets")
    for name in sorted(plugins.card_paths("budgets")):
        budget = plugins.budget_card(name)
        parts += [f"### {name}", prose(budget.description)]
        parts.append(fields(budget, leave_out=("description",)))
    return document("Models, encoders, budgets", *parts)
