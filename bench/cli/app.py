"""The command tree; each command lives in the module of its name."""

from __future__ import annotations

import typer

from bench.cli import (
    cache,
    check,
    claims,
    compare,
    data,
    datapage,
    listing,
    merge,
    new,
    plan,
    power,
    report,
    run,
    schema,
    score,
    serve,
    status,
    tune,
)

app = typer.Typer(
    name="bench",
    help="Benchmark LLM-based recommenders: same data, same budget, same metrics, with tests.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(listing.list_things)
app.command("show")(listing.show)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("report")(report.report)
app.command("tune")(tune.tune)
app.command("status")(status.status)
app.command("serve")(serve.serve)
app.command("score")(score.score)
app.command("claims")(claims.claims)
app.command("compare")(compare.compare)
app.command("power")(power.power)
app.command("merge")(merge.merge)
data.app.command("page")(datapage.page)
data.app.command("counts")(datapage.counts)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")
app.add_typer(new.app, name="new")
app.command("check")(check.check)
app.command("schema")(schema.schema)
