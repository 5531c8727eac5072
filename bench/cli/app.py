"""The command tree; each command lives in the module of its name."""

from __future__ import annotations

import typer

from bench.cli import (
    assets,
    cache,
    cancel,
    check,
    claims,
    compare,
    data,
    datapage,
    doctor,
    explain,
    export,
    listing,
    merge,
    new,
    plan,
    power,
    report,
    retry,
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
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(listing.list_things)
app.command("show")(listing.show)
app.command("plan")(plan.plan)
app.command("explain")(explain.explain)
app.command("doctor")(doctor.doctor)
app.command("run")(run.run)
app.command("retry")(retry.retry)
app.command("cancel")(cancel.cancel)
app.command("report")(report.report)
app.command("tune")(tune.tune)
app.command("status")(status.status)
app.command("serve")(serve.serve)
app.command("score")(score.score)
app.command("claims")(claims.claims)
app.command("compare")(compare.compare)
app.command("power")(power.power)
app.command("merge")(merge.merge)
app.command("export")(export.export)
data.app.command("page")(datapage.page)
data.app.command("counts")(datapage.counts)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")
app.add_typer(assets.app, name="assets")
app.add_typer(new.app, name="new")
app.command("check")(check.check)
app.command("schema")(schema.schema)
