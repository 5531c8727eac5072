"""Software, processors, Ray, network."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from bench.cli.doctor_checks.finding import Finding
from bench.config import plugins
from bench.errors import BenchError

NAME = "llmrec-bench"
CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"
INSTALL = "pip install -c constraints.txt -e ."
DRIVER = Path("/proc/driver/nvidia/version")
HUB = "huggingface.co"
NETWORK_SECONDS = 5.0
RAY_SECONDS = 60
NAMED = 6


def software() -> list[Finding]:
    """Compare Python and the installed libraries with what is asked for and what was tested."""
    python = importlib.metadata.metadata(NAME)["Requires-Python"]
    asked = [Requirement(text) for text in importlib.metadata.requires(NAME) or ()]
    wanted = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    here = {one.name: _version(one.name) for one in wanted}
    return [
        _python(platform.python_version(), python),
        _bounds(wanted, here),
        _tested(here, CONSTRAINTS),
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python(version: str, asked: str) -> Finding:
    if SpecifierSet(asked).contains(version, prereleases=True):
        return Finding(name="Python", said=version)
    hint = "Make a virtual environment with another Python."
    return Finding(
        name="Python", state="fail", said=f"{version}, but {asked} is asked for", hint=hint
    )


def _bounds(wanted: list[Requirement], here: Mapping[str, str | None]) -> Finding:
    wrong = [
        f"{one.name} {here[one.name] or 'is missing'} ({one.specifier})"
        for one in wanted
        if not one.specifier.contains(here[one.name] or "0", prereleases=True)
        or here[one.name] is None
    ]
    if wrong:
        return Finding(name="libraries", state="fail", said=", ".join(wrong), hint=INSTALL)
    return Finding(name="libraries", said=f"{len(wanted)} as pyproject.toml asks for them")


def _tested(here: Mapping[str, str | None], constraints: Path) -> Finding:
    """Compare with the versions that were tested together; a wheel does not bring their list."""
    if not constraints.is_file():
        return Finding(name="tested versions", said="constraints.txt is not here to compare with")
    lines = [line for line in constraints.read_text(encoding="utf-8").splitlines() if "==" in line]
    tested = {canonicalize_name(name): version for name, _, version in
              (line.partition("==") for line in lines)}  # fmt: skip
    other = [
        f"{name} {version} (tested: {tested[canonicalize_name(name)]})"
        for name, version in here.items()
        if version is not None
        and tested.get(canonicalize_name(name)) not in (None, version.partition("+")[0])
    ]
    if not other:
        return Finding(name="tested versions", said="all libraries are those of constraints.txt")
    said = ", ".join(other[:NAMED]) + (", …" if len(other) > NAMED else "")
    return Finding(name="tested versions", state="warn", said=said, hint=INSTALL)


def processors() -> list[Finding]:
    """Describe CPUs and GPUs as PyTorch sees them."""
    from bench.models.lm import devices

    cpus = len(os.sched_getaffinity(0))
    threads = devices.threads()
    said = f"{cpus} for this process, {os.cpu_count()} in all; PyTorch would take {threads} threads"
    if threads > cpus:
        hint = (
            f"Set OMP_NUM_THREADS to {cpus} or less: threads beyond the CPUs wait for one another."
        )
        found = [Finding(name="CPUs", state="warn", said=said, hint=hint)]
    else:
        found = [Finding(name="CPUs", said=said)]
    gpus = devices.gpus()
    if not gpus and DRIVER.exists():
        built = "is not built for NVIDIA" if not devices.has_cuda() else "sees none"
        hint = "Install PyTorch for your CUDA, or look at CUDA_VISIBLE_DEVICES."
        said = f"there is a driver, but PyTorch {built}"
        return [*found, Finding(name="GPUs", state="warn", said=said, hint=hint)]
    if not gpus:
        return [*found, Finding(name="GPUs", said="none; models compute on the CPU")]
    said = ", ".join(f"{gpu.name} ({gpu.memory_gib:.0f} GiB)" for gpu in gpus)
    if all(gpu.bfloat16 for gpu in gpus):
        return [*found, Finding(name="GPUs", said=f"{said}; bfloat16")]
    hint = "Models whose card says bfloat16 will be slow or wrong here."
    return [*found, Finding(name="GPUs", state="warn", said=f"{said}; no bfloat16", hint=hint)]


def ray_starts() -> Finding:
    """Start Ray here, run one task, stop it."""
    import ray

    from bench.runner.ray_executor import RayExecutor

    started = time.monotonic()
    try:
        executor = RayExecutor(num_cpus=1)
    except BenchError as error:
        return Finding(name="Ray", state="fail", said=error.message, hint=error.hint)
    try:
        ray.get(ray.remote(max_retries=0)(_nothing).remote(), timeout=RAY_SECONDS)
    except ray.exceptions.RayError as error:
        said = f"a task failed: {type(error).__name__}: {error}".split("\n")[0]
        return Finding(name="Ray", state="fail", said=said, hint="Try --executor inline.")
    finally:
        executor.close()
    return Finding(name="Ray", said=f"started and ran a task in {time.monotonic() - started:.1f} s")


def _nothing() -> None:
    """Do what shows that a worker works."""


def network() -> list[Finding]:
    """Ask every host that a data set's card names, and the hub; nothing is fetched."""
    cards = [
        plugins.dataset_card(one.name) for one in plugins.list_cards("datasets") if not one.error
    ]
    urls = [source.url for card in cards for file in card.files.values() for source in file.sources]
    hosts = sorted({HUB, *(urlsplit(url).netloc for url in urls if url)})
    silent = [host for host in hosts if not _answers(host)]
    if not silent:
        return [Finding(name="network", said=f"{len(hosts)} hosts answer")]
    said = f"no answer within {NETWORK_SECONDS:.0f} s: {', '.join(silent)}"
    hint = "Bring files by hand (--data-dir), and run with --offline."
    return [Finding(name="network", state="warn", said=said, hint=hint)]


def _answers(host: str) -> bool:
    request = urllib.request.Request(f"https://{host}/", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=NETWORK_SECONDS):  # noqa: S310
            return True
    except urllib.error.HTTPError:  # it answered, if only with a refusal
        return True
    except OSError:
        return False
