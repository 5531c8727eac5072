"""`bench new`: write a working example of a plug-in."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import typer

from bench.cli import options as o
from bench.config.search_path import extend_path
from bench.errors import BenchError

app = typer.Typer(help="Write a working example of a plug-in.", no_args_is_help=True)
NAME = o.argument("NAME", "Name of the module: lower case letters, digits, _.")
FOLDER_HELP = "Folder of the new module."


@app.command("method")
def method(
    name: str = NAME, folder: Path = o.option("--into", "DIR", FOLDER_HELP, Path("methods"))
) -> None:
    """Write a working method of 40 lines, to be changed into yours."""
    path = _write(name, folder, read_example("method").format(name=name))
    print(f"Next: bench check {path}")
    _print_path(folder, "methods")
    print(f"Then: bench run --method {name} --method popularity --dataset ml-100k --seeds 1")


@app.command("metric")
def metric(
    name: str = NAME, folder: Path = o.option("--into", "DIR", FOLDER_HELP, Path("metrics"))
) -> None:
    """Write a working metric of 30 lines, to be changed into yours."""
    family = "".join(part.capitalize() for part in name.split("_"))
    path = _write(name, folder, read_example("metric").format(family=family))
    print(f"Next: bench check {path}")
    _print_path(folder, "metrics")
    print(f'Then: name "{family}@5" among the metrics of a board.')


def _print_path(folder: Path, kind: str) -> None:
    if extended := extend_path(folder, kind):
        print(f"To find it: export {extended}")


def read_example(kind: str) -> str:
    """Return the template of an example, "method" or "metric"."""
    path = Path(__file__).with_name("examples") / f"{kind}.py.txt"
    return path.read_text(encoding="utf-8")


def _write(name: str, folder: Path, text: str) -> Path:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise BenchError(f"{name!r} is not a module name.", "Use lower case letters, digits and _.")
    path = folder / f"{name}.py"
    if path.exists():
        raise BenchError(f"{path} exists already.", "Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"Wrote {path}.")
    return path
