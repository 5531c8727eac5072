"""The documentation says what is: commands parse, names and files exist, examples plan."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import Bench

from bench.cli.app import app
from bench.config import plugins
from bench.config.cards import BoardCard, BoardRow, DatasetCard
from bench.config.fields import setting_paths
from bench.config.toml import check_card
from bench.data.catalog import Catalog
from bench.data.ranking import Ranking
from bench.metrics.metric import CategoryMass, ItemCounts, RankedCases
from bench.plan.trials import Board, board_trials, collect_ks
from bench.testing import check_metric

ROOT = Path(__file__).parents[1]
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = {"python", "jq", "head", "less", "grep"}
PLACEHOLDERS = {"mine", "best"}
GROUP_OPTIONS = {"--help", "-h", "--install-completion", "--show-completion"}
FENCE = re.compile(
    r"^```(\w*)(?: title=\"([^\"\n]*)\")?\n(.*?)^```", flags=re.DOTALL | re.MULTILINE
)
FOLDERS = r"(?:methods|datasets|leaderboards|bench|docs|tests|benchmarks|\.ci)"
TREE: Any = typer.main.get_command(app)


# --- what is read -------------------------------------------------------------------------------


def commands(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each command line of a text, and whether it is one to type, with all its arguments."""
    fenced = "\n".join(body for _, _, body in FENCE.findall(text))
    outside = FENCE.sub("", text)
    indented = "\n".join(line for line in outside.splitlines() if line.startswith("    "))
    for line in f"{fenced}\n{indented}".splitlines():
        for part in re.split(r"&&|\s{2,}(?=bench )", line.strip()):
            command = re.sub(r"^(\s*\w+=\S+)*\s*\$?\s*", "", part)
            if command.startswith("bench "):
                several = list(alternatives(command))
                yield from ((each, len(several) == 1) for each in several)
    for inline in re.findall(r"`(bench [^`]+)`", outside.replace("\n", " ")):
        yield from ((each, False) for each in alternatives(inline))


def alternatives(command: str) -> Iterator[str]:
    """Multiply out `bench data list | fetch` and `bench list [methods|datasets]`."""
    first, *others = (part.strip() for part in re.split(r"\s\|\s", command))
    words = first.split()
    for other in others:
        if other.split()[0] not in SHELL:
            yield other if other.startswith("bench") else " ".join([*words[:2], other])
    choice = re.search(r"\[([\w|]+)\]", first)
    if choice is None:
        yield first
    else:
        yield from (first.replace(choice[0], each) for each in choice[1].split("|"))


def parsed(line: str, *, whole: bool) -> dict[str, Any]:
    """Parse a line as `bench` does; return the options. Nothing runs."""
    words = shlex.split(line, comments=True)[1:]
    # The folders of the documentation are the reader's, and a folder that is none is refused.
    for index, word in enumerate(words[:-1]):
        if word == "--data-dir":
            words[index + 1] = "."
    command, name = TREE, "bench"
    while hasattr(command, "commands"):
        if not words or words[0] in GROUP_OPTIONS:
            return {}
        name = words.pop(0)
        assert name in command.commands, f"there is no command {name!r}"
        command = command.commands[name]
    try:
        return dict(command.make_context(name, words).params)
    except Exception as error:
        # In running text, and among alternatives, a command may be named without its arguments.
        if not whole and type(error).__name__ == "MissingParameter":
            return {}
        raise AssertionError(getattr(error, "message", "") or str(error)) from error


def check_names(options: dict[str, Any]) -> None:
    """Check that named methods, cards and settings exist; NAME and mine are placeholders."""
    methods, boards = set(plugins.method_names()), set(plugins.card_paths("leaderboards"))
    cards = {
        room: set(plugins.card_paths(room)) for room in (*plugins.MARKS, "budgets", "encoders")
    }
    known = {
        "methods": methods | {row.name for name in boards for row in plugins.board_card(name).rows},
        "datasets": cards["datasets"],
        "dataset": cards["datasets"],
        "board": boards,
        "suite": cards["suites"],
        "model": cards["models"],
        "budget": cards["budgets"],
        "encoder": cards["encoders"],
        "paper": set(plugins.board_files("claims")),
        "names": cards["datasets"] | boards,
        "name": methods.union(*cards.values()),
    }
    for option, names in known.items():
        values = options.get(option) or ()
        for name in [values] if isinstance(values, str) else values:
            if option == "model" and not name.isupper() and "/" not in name:
                plugins.model_card(name)  # a variant's name exists, too
                continue
            if option == "datasets" and (":" in name or "=" in name):
                for each in [name] if ":" in name else name.split("="):
                    plugins.dataset_card(each)
                continue
            placeholder = name.lower() in PLACEHOLDERS or name.isupper() or "/" in name
            assert placeholder or name in names, f"there is no {option} {name!r}"
    named = [name for name in options.get("methods") or () if name in methods]
    for setting in options.get("settings") or ():
        path = setting.partition("=")[0]
        key = path.partition(".")[2] if path.partition(".")[0] in methods else path
        of = {each for name in named for each in setting_paths(plugins.method_class(name))}
        assert key.isupper() or not named or key in {*of, "as_published"}, f"no setting {key!r}"


# --- tests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_every_command_line_is_one(path: Path) -> None:
    for line, whole in commands(path.read_text(encoding="utf-8")):
        try:
            check_names(parsed(line, whole=whole))
        except AssertionError as error:
            pytest.fail(f"{path.name}: {line}: {error}")


def test_command_lines_are_found_and_judged() -> None:
    text = "    A=b bench list [boards|suites]     bench show quick\nand `bench data` …"
    assert [line for line, _ in commands(text)] == [
        "bench list boards",
        "bench list suites",
        "bench show quick",
        "bench data",
    ]
    assert list(alternatives("bench cache ls | rm")) == ["bench cache rm", "bench cache ls"]
    assert sum(len(list(commands(path.read_text(encoding="utf-8")))) for path in WRITTEN) > 100
    for wrong in ("bench runn", "bench run --boards quick", "bench compare", "bench run --seeds 0"):
        with pytest.raises(AssertionError):
            parsed(wrong, whole=True)
    for wrong in ("--board quik", "--method nobody", "--method sprec --set bta=1"):
        with pytest.raises(AssertionError):
            check_names(parsed(f"bench run {wrong}", whole=True))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_named_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for name in re.findall(
        rf"(?<![\w/.(]){FOLDERS}/[\w./-]*\w\.(?:py|toml|md|json|html|csv)\b", text
    ):
        assert Path(name).stem in PLACEHOLDERS or (ROOT / name).is_file(), name


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_examples_are_well_formed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    for language, title, body in FENCE.findall(path.read_text(encoding="utf-8")):
        if language == "toml":
            content = tomllib.loads(body)
            folder = Path(title).parent.name
            if folder in ("datasets", "leaderboards"):
                check_card(content, DatasetCard if folder == "datasets" else BoardCard, title)
        elif language == "python":
            ast.parse(body if title else f"def block(self):\n{_indented(body)}")
            if title:
                assert not planned(body, Path(title).stem, tmp_path, monkeypatch)


def test_the_example_of_the_python_api_gives_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    example = "\n".join(body for language, _, body in FENCE.findall(text) if language == "pycon")
    test = doctest.DocTestParser().get_doctest(example, {}, "python-api.md", "python-api.md", 0)
    assert len(test.examples) > 10
    output: list[str] = []
    result = doctest.DocTestRunner().run(test, out=output.append)
    assert result.failed == 0, "".join(output)


def test_the_page_on_metrics_names_what_they_get_and_its_example_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    text = (ROOT / "docs" / "add-metric.md").read_text(encoding="utf-8")
    documented = {name for line in re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
                  for name in re.findall(r"`([\w.]+)`", line)}  # fmt: skip
    kinds: tuple[Any, ...] = (RankedCases, ItemCounts, CategoryMass)
    for kind in kinds:
        fields = {field.name for field in dataclasses.fields(kind)}
        nested = {name.partition(".")[0] for name in documented}
        assert fields <= nested | {"recommended", "history", "index"}
    nested_kinds: dict[str, Any] = {"ranking": Ranking, "catalog": Catalog}
    for prefix, kind in nested_kinds.items():
        names = {name.partition(".")[2] for name in documented if name.startswith(f"{prefix}.")}
        assert len(names) > 2
        assert names <= {field.name for field in dataclasses.fields(kind)}
    (example,) = (body for *_, body in FENCE.findall(text) if "METRIC = " in body)
    (tmp_path / "mine.py").write_text(example, encoding="utf-8")
    assert [check.problem for check in check_metric(tmp_path / "mine.py")] == [""] * 5


def test_the_own_claim_of_the_page_is_judged_without_a_paper(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    text = (ROOT / "docs" / "add-claim.md").read_text(encoding="utf-8")
    for _, title, body in FENCE.findall(text):
        if title:
            (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / title).write_text(body, encoding="utf-8")
    assert bench("check", "leaderboards/claims/mine.toml").code == 0
    assert bench("run", "--board", "mine", "--executor", "inline").code == 0
    assert "reproduced: holds (1 holds)" in bench("claims", "--paper", "mine").out
    page = (tmp_path / ".bench" / "pages" / "mine" / "index.html").read_text(encoding="utf-8")
    assert ">Claims</h2>" in page
    assert "Ours: holds" in page
    for text_on_papers in ("Compared with the paper", "Paper: ", "papers report", "the paper’s"):
        assert text_on_papers not in page


def test_the_register_speaks_of_what_there_is() -> None:
    text = (ROOT / "docs" / "pages" / "register.toml").read_text(encoding="utf-8")
    entries = [entry for group in tomllib.loads(text)["groups"] for entry in group["entries"]]
    methods = set(plugins.method_names())
    known = methods.union(plugins.card_paths("datasets"), plugins.card_paths("leaderboards"))
    assert len(entries) > 30
    for entry in entries:
        assert entry["about"], entry["title"]
        assert set(entry["about"]) <= known, entry["title"]
        named = [name for name in entry["about"] if name in methods]
        settings = {each for name in named for each in setting_paths(plugins.method_class(name))}
        for name in re.findall(r"`([\w.]+) = ", entry["here"]) if named else ():
            assert name in settings | BoardCard.model_fields.keys(), f"{entry['title']}: {name}"


def _indented(body: str) -> str:
    return "".join(f"    {line}\n" for line in body.splitlines())


def planned(body: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Plan a method that a page shows; return what is wrong."""
    (folder / f"{name}.py").write_text(body, encoding="utf-8")
    monkeypatch.delitem(sys.modules, f"bench.methods.{name}", raising=False)
    card = BoardCard(
        title=name,
        datasets=("synthetic",),
        rows=(BoardRow(method=name),),
        metrics=("NDCG@5",),
        seeds=1,
        model="tiny",
        budget="smoke",
    )
    board = Board(name=name, card=card)
    ((_, trial),) = board_trials(board, ks=collect_ks([board]))
    monkeypatch.delitem(sys.modules, f"bench.methods.{name}")
    return trial.problem


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_outside(tmp_path: Path) -> None:
    for needed in ("zensical", "docstring_parser", "yaml"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed (the extra docs)")
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    site = tmp_path / "site"
    names = {
        "methods": plugins.method_names(),
        "datasets": plugins.card_paths("datasets"),
        "boards": plugins.card_paths("leaderboards"),
    }
    for folder, pages in names.items():
        for name in pages:
            assert (site / folder / f"{name}.html").is_file()
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>")
    for page in site.rglob("*.html"):
        assert not loaded.findall(page.read_text(encoding="utf-8")), page.name
    reference = (site / "commands.html").read_text(encoding="utf-8")
    assert all(f">{name}<" in reference for name in ("bench run", "bench data verify", "--seeds N"))
