"""One page per method: description, settings, plan at the smallest budget, disagreements."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.config import plugins, search_path
from bench.config.cards import BoardCard, BoardRow
from bench.config.fields import default_settings, describe_settings
from bench.plan.stage import Stage
from bench.plan.trials import Board, Trial, board_trials, collect_ks
from bench.testing import BUDGET, DATASETS, MODEL

from . import register
from .markdown import about, arxiv_links, code, document, helps, paragraphs, prose, table

TASKS = {"next-item": "ranks the catalog", "rerank": "re-ranks lists"}
STAGES = Path(search_path.PACKAGE) / "stages"


def pages() -> Iterator[tuple[str, str]]:
    """Yield file names and contents."""
    names = plugins.method_names()
    yield "methods/index.md", _index(names)
    for name in names:
        yield f"methods/{name}.md", _page(name)


def _index(names: list[str]) -> str:
    rows = []
    for name in names:
        cls = plugins.method_class(name)
        first = (cls.__doc__ or "").strip().split("\n")[0]
        rows.append((f"[`{name}`]({name}.md)", TASKS[_task(cls)], prose(first)))
    return document(
        "Methods",
        "A method is a plan: a frozen dataclass of settings, and a function that composes stages."
        " [Concepts](../concepts.md) explains this; [Add a method](../add-method.md) shows how to"
        " write one.",
        table(("name", "task", "description"), rows),
    )


def _task(cls: type[Any]) -> str:
    return getattr(cls, "TASK", "next-item")


def _page(name: str) -> str:
    module, cls = plugins.method_module(name), plugins.method_class(name)
    links = arxiv_links(module.__doc__ or "", cls.__doc__ or "")
    disputed = register.entries_about(name)
    return document(
        f"`{name}`",
        paragraphs(module.__doc__ or ""),
        about(cls),
        f"Paper: {links}." if links else "",
        f"It {TASKS[_task(cls)]}.",
        f"    bench run --method {name} --dataset {DATASETS[_task(cls)]}"
        f" --model {MODEL} --budget {BUDGET}",
        "## Settings",
        _settings(cls),
        _published(cls),
        "## Plan",
        _sketch(name, _task(cls)),
        "## Where paper and program disagree" if disputed else "",
        register.written(disputed, 3),
        "## Code",
        f"```python\n{Path(module.__file__ or '').read_text(encoding='utf-8').strip()}\n```",
    )


def _settings(cls: type[Any]) -> str:
    defaults = default_settings(cls)
    if not defaults:
        return "None."
    described = describe_settings(cls)
    space: Mapping[str, Any] = getattr(cls, "SPACE", {})
    published: Mapping[str, Any] = getattr(cls, "AS_PUBLISHED", {})
    rows = []
    for name, default in defaults.items():
        # Methods that are no compositions of configs describe settings in their docstring.
        # The entry of a free mapping stands for its keys.
        declared, sentence = described.get(name) or described[name.rpartition(".")[0]]
        notes = [prose(sentence) or helps(cls).get(name, ("", ""))[0]]
        if name in published:
            notes.append(f"*As published:* {code(published[name])}.")
        if name in space:
            notes.append(f"*Search space:* {code(space[name])}.")
        rows.append((code(name), code(declared), code(default), " ".join(notes)))
    return table(("setting", "type", "default", "meaning"), rows) + (
        "\nChange a setting with `--set`, or in a board's row. The model card, the budget and the"
        " board override these defaults ([settings](../concepts.md#how-settings-are-resolved))."
    )


def _published(cls: type[Any]) -> str:
    if getattr(cls, "AS_PUBLISHED", None) is None:
        return "It has no `as_published`."
    return (
        "`--set as_published=true` uses the values marked *as published*: those of the authors'"
        " program that differ from the defaults here."
    )


def _sketch(name: str, task: str) -> str:
    trial = _trial(name, task)
    order = _ordered(trial.evaluations["final"])
    number = {stage.key: index for index, stage in enumerate(order, start=1)}
    rows = []
    for stage in order:
        reads = ", ".join(f"{name} {number[source.key]}" for name, source in stage.inputs.items())
        split = stage.args.get("split", "")
        kind = code(stage.kind) + (f" {split}" if split else "")
        rows.append((str(number[stage.key]), kind, reads, prose(_first_line(stage.kind))))
    checkpoints = [key for key in trial.evaluations if key != "final"]
    also = f" Also evaluated: {', '.join(map(code, checkpoints))}." if checkpoints else ""
    return (
        f"Its stages on `{trial.dataset}` with the budget `{BUDGET}` and the model `{MODEL}`, each"
        f" with its input stages. Equal stages of several methods run once.{also}\n\n"
        + table(("", "stage", "inputs", "description"), rows)
    )


def _trial(name: str, task: str) -> Trial:
    card = BoardCard(
        title=name,
        datasets=(DATASETS[task],),
        rows=(BoardRow(method=name),),
        metrics=("NDCG@5",),
        seeds=1,
        model=MODEL,
        budget=BUDGET,
    )
    board = Board(name=name, card=card)
    ((_, trial),) = board_trials(board, ks=collect_ks([board]))
    assert not trial.problem, trial.problem
    return trial


def _ordered(final: Stage) -> list[Stage]:
    """List a stage and all its inputs in topological order; equal keys are one stage."""
    order: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.key not in order:
            for source in stage.inputs.values():
                visit(source)
            order[stage.key] = stage

    visit(final)
    return list(order.values())


def _first_line(kind: str) -> str:
    tree = ast.parse((STAGES / f"{kind}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n")[0]
