"""A benchmark harness for LLM-based recommenders: the Python API.

The command `bench` parses its options, calls these functions and prints what they return. Importing
`bench` loads nothing heavy: each function imports what it needs when it is called.

    >>> import bench
    >>> request = bench.RunRequest(suite="quick", seeds=1)
    >>> bench.run(request)                                 # doctest: +SKIP
    >>> bench.load_results("results").to_pandas()          # doctest: +SKIP

`bench.plan` and `bench.report` are packages, so the functions are `plan_run` and `report_boards`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.request import (
    RESULTS,
    STORE,
    DataOptions,
    ExecutionOptions,
    RunRequest,
)

if TYPE_CHECKING:
    from bench.config.plugins import Listed
    from bench.data.prepared import Prepared
    from bench.data.verification import Finding
    from bench.plan.trials import Trial
    from bench.report.claims.judge import JudgedClaim
    from bench.report.compare.pairwise import PairwiseReport
    from bench.report.compare.power import BlockPower
    from bench.report.run_boards import RunReport
    from bench.report.table import BoardTable
    from bench.results.load import ResultSet
    from bench.results.merge import Merged
    from bench.runner.explain import StageExplanation
    from bench.runner.run_plan import RunPlan

__all__ = [
    "RESULTS",
    "STORE",
    "DataOptions",
    "ExecutionOptions",
    "RunRequest",
    "cancel",
    "claims",
    "compare",
    "explain",
    "export",
    "list_boards",
    "list_datasets",
    "list_encoders",
    "list_methods",
    "list_metrics",
    "list_models",
    "list_suites",
    "load_results",
    "merge",
    "plan_run",
    "power",
    "prepare",
    "report_boards",
    "retry",
    "run",
    "score",
    "verify",
]

# --- runs -----------------------------------------------------------------------------------------


def run(
    request: RunRequest,
    options: ExecutionOptions | None = None,
    *,
    trackers: Sequence[str] = (),
    only_failed: bool = False,
    quiet: bool = False,
) -> RunReport:
    """Run what is missing of every method × data set × seed, then test and render the boards.

    Re-running recomputes nothing: finished stages are read from the store.

    Args:
        request: What to run.
        options: Where to compute, read and write.
        trackers: `TRACKER[=TARGET]`, where the tracker is mlflow, tensorboard or wandb.
        only_failed: Whether to run only trials recorded as failed or skipped; the boards are
            rendered completely.
        quiet: Whether to print no progress.

    Returns:
        Which trials succeeded, the boards' tables and the paths of their pages.

    Raises:
        BenchError: If the request or the options are not valid. A trial that fails raises nothing.
    """
    from bench.report.run_boards import run_boards

    options = options or ExecutionOptions()
    return run_boards(request, options, trackers=trackers, only_failed=only_failed, quiet=quiet)


def retry(
    results: Path | str = RESULTS, *, only_failed: bool = False, quiet: bool = False
) -> RunReport:
    """Repeat the last run into a results folder, with its request, options and working directory.

    Args:
        results: Folder of the results.
        only_failed: Whether to run only trials recorded as failed or skipped.
        quiet: Whether to print no progress.

    Raises:
        BenchError: If there was no run, or its record or working directory is gone.
    """
    from contextlib import chdir

    from bench.results.run_records import read_last_run

    last = read_last_run(Path(results))
    with chdir(last.folder):
        return run(last.request, last.execution, only_failed=only_failed, quiet=quiet)


def cancel(
    trial: str | None = None, *, store: Path | str = STORE, results: Path | str = RESULTS
) -> list[str]:
    """Request that active runs stop, or leave out one trial.

    Stages that other trials need are not stopped. A run reacts within about a second, with the
    inline executor when the current unit of work ends.

    Args:
        trial: Id of the trial; None for all.
        store: Folder of the artifacts.
        results: Folder of the results that the runs write to.

    Returns:
        One description per run that was asked.

    Raises:
        BenchError: If no such run is active, or the trial is not in it.
    """
    from bench.errors import BenchError, unknown
    from bench.runner.run_directory import ALL_TRIALS, find_active_runs

    runs = find_active_runs(Path(store), Path(results))
    if not runs:
        raise BenchError(
            f"No active run writes to {results} and keeps its artifacts in {store}.",
            "Name its folders with --results and --store.",
        )
    unfinished = {name for active in runs for name in active.trials}
    if trial is not None and trial not in unfinished:
        raise unknown("unfinished trial", trial, unfinished)
    runs = [active for active in runs if trial is None or trial in active.trials]
    for active in runs:
        active.request_cancel(ALL_TRIALS if trial is None else trial)
    return [f"process {active.pid} on {active.host}" for active in runs]


def plan_run(
    request: RunRequest,
    *,
    store: Path | str = STORE,
    data_dir: Path | None = None,
    gpus: int | None = None,
    cpus: int | None = None,
    timings: Sequence[Path] = (),
    fresh: bool = False,
) -> RunPlan:
    """Plan a run without running it: stages, which of them are stored, and how long it will take.

    Args:
        request: What to run.
        store: Folder of the artifacts.
        data_dir: Folder of raw files, searched first.
        gpus: GPUs of the machine that the time is estimated for.
        cpus: CPUs of that machine; None for this machine's, and at least 8 per GPU.
        timings: Other stores whose recorded timings are used.
        fresh: Whether to estimate as if nothing were stored.

    Raises:
        BenchError: If the request is not valid or a store of `timings` does not exist.
    """
    from bench.plan.board_selection import distinct_trials, plan_boards, select_boards
    from bench.runner.run_plan import plan_trials

    trials = distinct_trials(plan_boards(select_boards(request), data_dir=data_dir))
    return plan_trials(trials, Path(store), gpus=gpus, cpus=cpus, timings=timings, fresh=fresh)


def explain(
    request: RunRequest | None = None,
    *,
    trial: str | None = None,
    seed: int | None = None,
    store: Path | str = STORE,
    results: Path | str = RESULTS,
    data_dir: Path | None = None,
) -> tuple[Trial, list[StageExplanation]]:
    """Explain for each stage of one trial whether it is stored and, if not, what differs.

    Args:
        request: Where to look for the trial; None for the boards that were run into `results`.
        trial: Its id; may be omitted if only one trial matches.
        seed: Its seed.
        store: Folder of the artifacts.
        results: Folder of the results.
        data_dir: Folder of raw files, searched first.

    Raises:
        BenchError: If no trial matches, several do, or the trial cannot run.
    """
    from bench.errors import BenchError
    from bench.plan.board_selection import distinct_trials, find_trial
    from bench.plan.graph import build
    from bench.results.run_records import plan_requested
    from bench.runner.explain import explain as explain_stages
    from bench.runner.store import Store

    planned = plan_requested(request or RunRequest(), Path(results), data_dir=data_dir)
    match = find_trial(distinct_trials(planned), trial, seed)
    if match.problem:
        raise BenchError(f"{match.id} cannot run: {match.problem}")
    return match, explain_stages(build([match]), Store(Path(store)))


# --- results --------------------------------------------------------------------------------------


def load_results(folder: Path | str = RESULTS) -> ResultSet:
    """Load all results of a folder; `.to_pandas()` gives them as a table.

    Args:
        folder: Folder of the results.

    Raises:
        BenchError: If a result has another schema version than this program.
    """
    from bench.results import load

    return load.load_results(folder)


def report_boards(
    request: RunRequest | None = None,
    *,
    results: Path | str = RESULTS,
    store: Path | str = STORE,
    pages: Path | str | None = None,
    examples: bool = False,
    with_statistics: bool = True,
) -> list[BoardTable]:
    """Assemble boards from stored results, and render their pages.

    Args:
        request: The boards; None for all that were run into `results`.
        results: Folder of the results.
        store: Folder of the artifacts, where statistics are cached.
        pages: Folder to write Markdown, HTML, LaTeX and CSV to; None writes nothing.
        examples: Whether pages show a few test cases with titles; not to be published.
        with_statistics: Whether to compute tests and claims; False gives values only.

    Raises:
        BenchError: If nothing was run, or pages with titles would be written into a git repository.
    """
    from bench.report.assemble import assemble
    from bench.report.boards import assemble_boards, refuse_repository, render_boards
    from bench.report.stats_cache import StoredStatistics
    from bench.results.run_records import plan_requested

    if examples and pages is not None:
        refuse_repository(Path(pages))
    planned = plan_requested(request or RunRequest(), Path(results))
    if pages is not None:
        return render_boards(
            planned, Path(results), Path(pages), store=Path(store), examples=examples
        )[0]
    stored = load_results(results)
    if with_statistics:
        return assemble_boards(planned, stored, StoredStatistics(Path(store)))
    return [assemble(board, row_trials, stored, tested=False) for board, row_trials in planned]


def compare(
    a: str,
    b: str,
    *,
    results: Path | str = RESULTS,
    board: str | None = None,
    dataset: str | None = None,
    metrics: Sequence[str] = (),
    catalog: Path | None = None,
    categories: Sequence[str] = (),
) -> PairwiseReport:
    """Compare two methods: difference, interval, p-value, effect size and seeds per metric.

    Args:
        a: A row or method of a board that was run, a folder `<results>/<dataset>/<method>/<hash>`,
            or a ranking file (JSONL or parquet). A word with a slash is a path.
        b: The reference, named likewise.
        results: Folder of the results.
        board: The board, if several have such rows.
        dataset: The data set, if several were run.
        metrics: Names of metrics; the board's by default.
        catalog: All items of ranking files, with id, title and categories.
        categories: Categories that fairness metrics of ranking files track; all by default.

    Raises:
        BenchError: If one side does not exist, or the two were not measured on the same cases.
    """
    from bench.report.compare.operands import compare_words

    return compare_words(
        (a, b),
        Path(results),
        board=board,
        dataset=dataset,
        metrics=metrics,
        catalog=catalog,
        categories=categories,
    )


def power(
    *,
    results: Path | str = RESULTS,
    board: str | None = None,
    dataset: str | None = None,
    methods: Sequence[str] = (),
    metrics: Sequence[str] = (),
    cases: int | None = None,
    seeds: int | None = None,
) -> list[BlockPower]:
    """Compute the smallest difference that each row would show with 80 % power (two-sided .05).

    Args:
        results: Folder of the results, whose variance is used.
        board: Only this board.
        dataset: Only this data set.
        methods: Only these rows or methods.
        metrics: Names of metrics; the board's by default.
        cases: Hypothetical number of test cases; None for the actual one.
        seeds: Hypothetical number of seeds; None for the actual one.

    Returns:
        One entry per board and data set.

    Raises:
        BenchError: If a board, data set, row or metric does not exist.
    """
    from bench.report.compare.power import compute_power

    return compute_power(
        Path(results),
        board=board,
        dataset=dataset,
        methods=methods,
        metrics=metrics,
        num_cases=cases,
        num_seeds=seeds,
    )


def claims(
    *, paper: str | None = None, board: str | None = None, results: Path | str = RESULTS
) -> list[JudgedClaim]:
    """Judge the claims of papers by the published numbers and by our results.

    Args:
        paper: Name of a paper, e.g. "sprec"; None for all.
        board: Only claims listed on this board.
        results: Folder of the results.

    Raises:
        BenchError: If there is no such paper or board.
    """
    from bench.report.claims.judge import judge_claims

    return judge_claims(paper, board, Path(results))


def merge(folders: Sequence[Path], into: Path) -> Merged:
    """Merge results of several machines into one folder; conflicting results are refused.

    Args:
        folders: Folders of results.
        into: The merged folder; may already hold results.

    Raises:
        BenchError: If results conflict; then nothing is written.
    """
    from bench.results.merge import merge as merge_folders

    return merge_folders(folders, into)


def export(
    format_: str,
    names: Sequence[str] = (),
    *,
    into: str | None = None,
    results: Path | str = RESULTS,
    data: DataOptions | None = None,
    evaluator: str | None = None,
    relationship: str | None = None,
) -> list[str]:
    """Write data sets, rankings or results in the format of another project.

    Args:
        format_: For data sets: recbole, d3, sprec. For results: trec, every-eval-ever, mlflow,
            tensorboard, wandb.
        names: Data sets, or boards that were run (all by default); for trec also ranking files.
        into: Folder; for mlflow the tracking URI, for wandb the project. Required except for
            trackers.
        results: Folder of the results.
        data: Where prepared data and their raw files are.
        evaluator: For every-eval-ever: who evaluated.
        relationship: For every-eval-ever: of the evaluator to the methods; first_party,
            third_party, collaborative or other.

    Returns:
        Paths of the files written; for trackers, ids of the trials reported.

    Raises:
        BenchError: If an option is missing or would have no effect, or a name does not exist.
    """
    from bench.report.export import export_files

    return export_files(
        format_,
        names,
        into,
        results=Path(results),
        data=data or DataOptions(),
        evaluator=evaluator,
        relationship=relationship,
    )


def score(
    file: Path | str,
    *,
    format_: str = "ranking",
    catalog: Path | None = None,
    encoder: str | None = None,
    ks: Sequence[int] = (1, 5),
    categories: Sequence[str] | None = None,
    data_dir: Path | None = None,
    offline: bool = False,
) -> dict[str, float]:
    """Compute every metric of a file of rankings or generated texts made elsewhere.

    Args:
        file: For "ranking", JSONL (also .gz) or parquet with case, user, history, target and items
            (best first); for "sprec", a JSON list with instruction, input, output and predict.
        format_: "ranking" or "sprec".
        catalog: All items with id, title and categories (JSONL, CSV, parquet); without it, metrics
            that need a catalog are left out. For "sprec", the folder of id2name.json.
        encoder: For "sprec", card of the sentence encoder that grounds the texts.
        ks: Lengths of lists.
        categories: For "ranking", categories that fairness metrics track; all by default.
        data_dir: For "sprec", folder of the encoder's files, searched first.
        offline: Whether to never use the network.

    Returns:
        Value of each metric by name, e.g. "NDCG@5".

    Raises:
        BenchError: If a file is not valid, or an option does not apply to the format.
    """
    from bench.errors import BenchError, unknown

    if format_ == "sprec":
        from bench.results.formats import sprec

        if categories is not None:
            raise BenchError(
                "--category cannot be used with --format sprec.",
                "The categories are the keys of the folder's genre_dict.json.",
            )
        if catalog is None:
            raise BenchError(
                "--format sprec needs the items.", "Name the folder of id2name.json with --catalog."
            )
        if encoder is None:
            from bench.config.plugins import card_paths

            raise BenchError(
                "--format sprec needs a sentence encoder.",
                f"Name one with --encoder: {', '.join(sorted(card_paths('encoders')))}.",
            )
        rows, folder = sprec.read_sprec(Path(file)), sprec.read_sprec_folder(catalog)
        # Imported late: torch takes seconds, which a file that is not valid should not cost.
        from bench.models.lm.encode.sentence_encoder import load_encoder

        loaded = load_encoder(encoder, offline=offline, data_dir=data_dir)
        return sprec.score_sprec(rows, folder, loaded, list(ks))
    if format_ != "ranking":
        raise unknown("format", format_, ("ranking", "sprec"))
    if encoder is not None or data_dir is not None:
        raise BenchError(
            "--encoder and --data-dir cannot be used with --format ranking.",
            "Its items are ids, so no text is grounded.",
        )
    from bench.results.score_file import read_catalog, read_ranking, score_ranking

    items = None if catalog is None else read_catalog(catalog)
    return score_ranking(read_ranking(Path(file)), items, ks=list(ks), tracked=categories)


# --- what there is --------------------------------------------------------------------------------


def list_methods() -> list[Listed]:
    """List methods with their summaries; one that cannot be imported has an `error`."""
    from bench.config import plugins

    return plugins.list_methods()


def list_datasets() -> list[Listed]:
    """List the cards of data sets; see `list_methods`."""
    return _list_cards("datasets")


def list_models() -> list[Listed]:
    """List the cards of backbones; see `list_methods`."""
    return _list_cards("models")


def list_boards() -> list[Listed]:
    """List boards; see `list_methods`."""
    return _list_cards("leaderboards")


def list_suites() -> list[Listed]:
    """List suites of boards; see `list_methods`."""
    return _list_cards("suites")


def list_encoders() -> list[Listed]:
    """List the cards of sentence encoders; see `list_methods`."""
    return _list_cards("encoders")


def list_metrics() -> list[Listed]:
    """List the families of metrics, e.g. "NDCG@k", with what each measures."""
    from bench.config.plugins import Listed
    from bench.metrics import registry

    return [Listed(name=each.pattern, summary=each.title) for each in registry.list_metrics()]


def _list_cards(kind: str) -> list[Listed]:
    from bench.config import plugins

    return plugins.list_cards(kind)


# --- data -----------------------------------------------------------------------------------------


def prepare(names: Sequence[str], options: DataOptions | None = None) -> dict[str, Prepared]:
    """Read, filter and split data sets; what is stored is not computed again.

    Args:
        names: Names of data sets.
        options: Store and raw files.

    Raises:
        BenchError: If raw files are missing or do not contain such data.
    """
    from bench.runner.prepared_data import prepare_datasets

    prepared = prepare_datasets(names, options or DataOptions())
    return {name: data for name, (_, data) in prepared.items()}


def verify(names: Sequence[str], options: DataOptions | None = None) -> dict[str, list[Finding]]:
    """Check prepared data sets against their expected counts and for leaks.

    Args:
        names: Names of data sets.
        options: Store and raw files.

    Raises:
        BenchError: If raw files are missing or do not contain such data.
    """
    from bench.config import plugins
    from bench.data import verification

    return {
        name: verification.verify(data, plugins.dataset_card(name))
        for name, data in prepare(names, options).items()
    }
