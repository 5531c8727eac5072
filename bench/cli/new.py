"""`bench new`: write a working example of a plug-in."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import BenchError

app = typer.Typer(help="Write a working example of a plug-in.", no_args_is_help=True)


METHOD_TEMPLATE = '''"""{name}: items that often follow the last item of the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api import Catalog, Data, Model, Plan, Windows, rank


def fit(
    train: Windows, catalog: Catalog, *, smoothing: float
) -> Callable[[NDArray[np.int32]], NDArray[np.float64]]:
    """Count training steps from one item to the next; score by how often each was taken."""
    num_items = len(catalog)
    steps = np.full((num_items, num_items), smoothing)
    np.add.at(steps, (_last(train.histories), train.targets), 1.0)
    return lambda histories: steps[_last(histories)]


def _last(histories: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the last item of each history; histories are padded on the right with -1."""
    lengths = (histories >= 0).sum(axis=1)
    return histories[np.arange(len(histories)), lengths - 1]


@dataclass(frozen=True, kw_only=True)
class Method:
    """{name}: items that often follow the last item of the history."""

    smoothing: float = 0.01

    def plan(self, data: Data, model: Model | None, seed: int) -> Plan:
        """Count on the training rows, rank the catalog for every test case."""
        settings = {{"smoothing": self.smoothing}}
        scorer = "{name}:fit"
        return Plan(ranking=rank(data.test, scorer=scorer, train=data.train, settings=settings))
'''


METRIC_TEMPLATE = '''"""{family}@k: an example, the fraction of items that are new to the user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.api import Metric, RankedCases


def score(cases: RankedCases, k: int) -> NDArray[np.float64]:
    """Return one value per case, shape (C,), from the lists of C cases.

    Others that `cases` has: ranks and targets (C,), ranking.texts, catalog.titles and
    catalog.categories, by item index; docs/add-metric.md describes them. -1 is no item.
    """
    items = cases.ranking.items[:, :k]
    seen = (items[:, :, None] == cases.histories[:, None, :]) & (items[:, :, None] >= 0)
    return 1.0 - seen.any(axis=2).mean(axis=1)


METRIC = Metric(
    family="{family}",
    title="fraction of new items",
    description="Fraction of the first k recommendations that are not in the history.",
    higher_is_better=True,
    score_cases=score,
)
'''

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the module: lower case letters, digits, _.")
]

Folder = Annotated[Path, typer.Option("--into", metavar="DIR", help="Folder of the new module.")]


@app.command("method")
def method(
    name: Name,
    folder: Folder = Path("methods"),
) -> None:
    """Write a working method of 40 lines, to be changed into yours."""
    path = _write(name, folder, METHOD_TEMPLATE.format(name=name))
    print(f"Next: bench check {path}")
    print(f"Then: BENCH_PATH={folder} bench run --method {name} --method popularity "
          "--dataset ml-100k --seeds 1")  # fmt: skip


@app.command("metric")
def metric(
    name: Name,
    folder: Folder = Path("metrics"),
) -> None:
    """Write a working metric of 30 lines, to be changed into yours."""
    family = "".join(part.capitalize() for part in name.split("_"))
    path = _write(name, folder, METRIC_TEMPLATE.format(family=family))
    print(f"Next: bench check {path}")
    print(f'Then: name "{family}@5" among the metrics of a board, with BENCH_PATH={folder}')


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
