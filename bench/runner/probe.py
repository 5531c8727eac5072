"""`bench probe`: whether a backbone may have read a data set."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from bench.config.request import NUM_COMPARISONS, PROBES, DataOptions
from bench.errors import BenchError
from bench.files import write_atomic
from bench.runner.prepared_data import compose_backbone, materialize, prepare_datasets

SEED = 0
Z95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class ProbeTask:
    """Shares of right comparisons, with 95 % intervals; chance is .5.

    Attributes:
        num: Number of comparisons.
        real: With the catalog's own titles; control: with titles exchanged at random; difference:
            real minus control. Each is value, low, high.
    """

    task: str
    question: str
    num: int
    real: tuple[float, float, float]
    control: tuple[float, float, float]
    difference: tuple[float, float, float]

    @property
    def verdict(self) -> str:
        """What the numbers say."""
        if self.real[1] > 0.5 and self.difference[1] > 0:
            return "above chance and above the control"
        return "above chance only" if self.real[1] > 0.5 else "not above chance"


def probe(
    model: str, dataset: str, options: DataOptions | None = None, *, num: int = NUM_COMPARISONS
) -> list[ProbeTask]:
    """Probe a backbone for knowledge of a data set; see `bench.models.lm.probe`.

    The result of `num` comparisons per task is stored in `.bench/probes`, where boards find it.

    Raises:
        BenchError: If files are missing, or the data set has no titles.
    """
    from bench.models.lm.devices import compute_threads
    from bench.models.lm.probe import TASKS, judge_exchanges, make_exchanges
    from bench.models.lm.tuned_model import load

    options = options or DataOptions()
    stage, data = prepare_datasets([dataset], options)[dataset]
    titles = data.catalog.titles
    if len(set(titles)) < 2:
        raise BenchError(f"{dataset} has no titles to probe.", "Name another data set.")
    shuffled = np.random.default_rng(SEED).permutation(np.array(titles, dtype=object)).tolist()
    backbone = compose_backbone(model, dataset, stage, options)
    policy = load(materialize(backbone.backbone, options, backbone.name), **backbone.spec.weights)
    right: list[dict[str, NDArray[np.float64]]] = []
    with compute_threads(backbone.threads), policy.merged():
        for names in (titles, shuffled):
            exchanges = make_exchanges(data, names, num, SEED)
            right.append(
                {
                    task: judge_exchanges(policy.model, policy.tokenizer, each)
                    for task, each in exchanges.items()
                }
            )
    tasks = [
        summarize_task(task, text, *(each[task] for each in right)) for task, text in TASKS.items()
    ]
    content = [asdict(each) | {"verdict": each.verdict} for each in tasks]
    names = (name.partition(":")[0] for name in (backbone.name, dataset))
    write_atomic(PROBES / f"{'--'.join(names)}.json", json.dumps(content, indent=1).encode())
    return tasks


def summarize_task(
    task: str, question: str, real: NDArray[np.float64], control: NDArray[np.float64]
) -> ProbeTask:
    """Summarize right and wrong comparisons; real and control ones are about the same cases."""
    num = min(len(real), len(control))
    real, control = real[:num], control[:num]
    change = real - control
    margin = Z95 * float(change.std(ddof=1)) / num**0.5
    middle = float(change.mean())
    return ProbeTask(
        task=task,
        question=question,
        num=num,
        real=wilson(float(real.mean()), num),
        control=wilson(float(control.mean()), num),
        difference=(middle, middle - margin, middle + margin),
    )


def wilson(share: float, num: int) -> tuple[float, float, float]:
    """Return a share with its 95 % score interval (Wilson 1927)."""
    center = share + Z95**2 / (2 * num)
    margin = Z95 * (share * (1 - share) / num + Z95**2 / (4 * num**2)) ** 0.5
    scale = 1 + Z95**2 / num
    return share, (center - margin) / scale, (center + margin) / scale


LIMITS = (
    "Above chance on ids or on the next interaction, and above the control, means that the model "
    "may have read the data set or texts about it.",
    "The end of a title can be known from ordinary language and from films or books themselves, "
    "so that task says nothing about the data set alone.",
    "The next interaction can also be right because titles resemble each other, such as a film "
    "and its sequel; the control removes that resemblance too, so the difference does not tell "
    "reading from resemblance.",
    "Not above chance does not show that the model has not read the data: it may know more than "
    "this form of question brings out, and few comparisons find only strong knowledge.",
    "Nothing here says how much a result on a board owes to having read the data.",
)


def write_report(model: str, dataset: str, tasks: list[ProbeTask]) -> str:
    """Write the result as Markdown of headings, paragraphs and lists."""

    def write(value: tuple[float, float, float]) -> str:
        return f"{value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]"

    lines = [
        f"- {each.task} ({each.question}) {each.num} comparisons: right {write(each.real)}, "
        f"control {write(each.control)}, difference {write(each.difference)}: {each.verdict}."
        for each in tasks
    ]
    return "\n\n".join(
        [
            f"# Has {model} read {dataset}?",
            "The share of comparisons in which the model finds the texts that belong together more "
            "probable than exchanged ones, with 95 % intervals. Chance is 0.5. The control repeats "
            "every comparison with the titles of the catalog exchanged at random.",
            "## Result",
            "\n".join(lines),
            "## What this can and cannot show",
            "\n".join(f"- {text}" for text in LIMITS),
        ]
    )
