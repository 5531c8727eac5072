"""`bench power`: the smallest difference that a board could detect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bench
from bench.cli import options as o

if TYPE_CHECKING:
    from bench.report.compare.power import BlockPower


def power(
    results: Path = o.RESULTS,
    board: str | None = o.BOARD,
    dataset: str | None = o.DATASET,
    method: list[str] | None = o.option(
        "--method", "NAME", "Only this row or method (default: all). Repeatable."
    ),
    metric: list[str] | None = o.METRICS,
    cases: int | None = o.option("--cases", "N", "Assume this number of test cases.", min=2),
    seeds: int | None = o.option("--seeds", "N", "Assume this number of seeds.", min=1),
    as_json: bool = o.AS_JSON,
) -> None:
    """Compute the smallest difference that each row would show with 80 % power (two-sided .05).

    The variance is estimated from stored results; approximations are listed below the table.
    """
    powers = bench.power(
        results=results,
        board=board,
        dataset=dataset,
        methods=method or (),
        metrics=metric or (),
        cases=cases,
        seeds=seeds,
    )
    if as_json:
        o.print_json([block.to_json() for block in powers])
        return
    print("\n\n".join(map(_format, powers)))


def _format(block: BlockPower) -> str:
    from bench.report.format import NO_VALUE, format_percent, format_value
    from bench.report.render.terminal import fit_table

    rows = [
        (
            line.other,
            line.metric,
            format_value(line.difference, digits=5),
            format_percent(line.relative).removeprefix("+"),
            format_value(line.equivalence, digits=5),
            line.question,
            f"{line.num_cases:,}",
            f"{line.num_units:,.0f} {line.unit}s",
            " + ".join(map(str, line.num_seeds)),
            line.seeds_to_halve or NO_VALUE,
        )
        for line in block.comparisons
    ]
    headers = (
        "row", "metric", "smallest difference", "relative", "equivalent within", "about", "cases",
        "units", "seeds", "seeds to halve it",
    )  # fmt: skip
    notes: dict[str, dict[str, None]] = {}
    for line in block.comparisons:
        for text in line.approximations:
            notes.setdefault(text, {})[line.metric] = None
    parts = [
        f"{block.board} on {block.dataset}: the smallest difference from {block.reference} that a "
        "two-sided test at .05 detects with 80 % power, before any correction for the family, and "
        "the smallest bound within which equal methods are shown to be equivalent.",
        fit_table(rows, headers) if rows else "",
        "\n".join(block.sentences),
        _format_variances(block),
        "\n".join(f"Approximate ({', '.join(names)}): {text}" for text, names in notes.items()),
        "\n".join(f"Left out: {text}" for text in block.left_out),
    ]
    return "\n\n".join(part for part in parts if part)


def _format_variances(block: BlockPower) -> str:
    """Format the standard deviations of one run; "" without several data seeds."""
    from bench.report.compare.variance import describe_variance
    from bench.report.format import format_value
    from bench.report.render.terminal import fit_table

    if not block.variances:
        return ""
    rows = [
        (
            *(line.row, line.metric, line.num_draws, line.num_seeds),
            *(format_value(variance**0.5) for variance in vars(line.parts).values()),
        )
        for line in block.variances
    ]
    headers = (
        "row", "metric", "data seeds", "training seeds", "data draw ±", "training ±",
        "test users ±",
    )  # fmt: skip
    return f"{fit_table(rows, headers)}\n\n{describe_variance(block.variances)}"
