"""Checks of `bench doctor`: software, processors, disks, plug-ins, local files, Ray, network."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from bench.config import plugins
from bench.config.cards import DatasetCard
from bench.data.assets import cache_folder, cached_path, local_file
from bench.errors import BenchError
from bench.hashing import checksum
from bench.plan.device import planned_device
from bench.runner import cost_model
from bench.runner.resources import count_cpus
from bench.runner.run_directory import require_locks

NAME = "llmrec-bench"
CONSTRAINTS = Path(plugins.__file__).parents[2] / "constraints.txt"
INSTALL = "pip install -c constraints.txt -e ."
DRIVER = Path("/proc/driver/nvidia/version")
HUB = "huggingface.co"
NETWORK_SECONDS = 5.0
FAIL_GIB = 1.0
WARN_GIB = 10.0
MAX_NAMES = 6


@dataclass(frozen=True)
class Finding:
    """One line of `bench doctor`.

    Attributes:
        name: What was checked.
        message: What was observed.
        state: "fail" if a run cannot work, "warn" if it may not, or not as intended.
        hint: What to do about it; empty for "ok".
    """

    name: str
    message: str
    state: Literal["ok", "warn", "fail"] = "ok"
    hint: str = ""


def _join_names(names: Sequence[str]) -> str:
    """Join names, the first `MAX_NAMES` of them."""
    return ", ".join([*names[:MAX_NAMES], *("…" for _ in names[MAX_NAMES : MAX_NAMES + 1])])


def check_software() -> list[Finding]:
    """Compare Python and libraries with what is required and what was tested."""
    python = importlib.metadata.metadata(NAME)["Requires-Python"]
    requirements = map(Requirement, importlib.metadata.requires(NAME) or ())
    required = [
        requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]
    installed = {requirement.name: _find_version(requirement.name) for requirement in required}
    return [
        _check_python(platform.python_version(), python),
        _check_requirements(required, installed),
        _check_tested_versions(installed, CONSTRAINTS),
    ]


def _find_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check_python(version: str, required: str) -> Finding:
    if SpecifierSet(required).contains(version, prereleases=True):
        return Finding("Python", version)
    hint = "Create a virtual environment with another Python."
    return Finding("Python", f"{version}, but {required} is required", "fail", hint)


def _check_requirements(
    required: list[Requirement], installed: Mapping[str, str | None]
) -> Finding:
    wrong = [
        f"{requirement.name} {version or 'is missing'} ({requirement.specifier})"
        for requirement in required
        if (version := installed[requirement.name]) is None
        or not requirement.specifier.contains(version, prereleases=True)
    ]
    if wrong:
        return Finding("libraries", ", ".join(wrong), "fail", INSTALL)
    return Finding("libraries", f"{len(required)} as pyproject.toml requires")


def _check_tested_versions(installed: Mapping[str, str | None], constraints: Path) -> Finding:
    """Compare with the versions that were tested together; a wheel does not contain them."""
    if not constraints.is_file():
        return Finding("tested versions", "no constraints.txt to compare with")
    lines = constraints.read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("==")[::2] for line in lines if "==" in line]
    tested = {canonicalize_name(name): version for name, version in pairs}
    other = [
        f"{name} {version} (tested: {tested[canonicalize_name(name)]})"
        for name, version in installed.items()
        if version is not None
        and tested.get(canonicalize_name(name)) not in (None, version.partition("+")[0])
    ]
    if not other:
        return Finding("tested versions", "all libraries are those of constraints.txt")
    return Finding("tested versions", _join_names(other), "warn", INSTALL)


def check_processors() -> list[Finding]:
    """Describe CPUs and GPUs as PyTorch sees them."""
    from bench.models.lm import devices

    cpus, threads = count_cpus(), devices.count_threads()
    hint = f"Set OMP_NUM_THREADS to {cpus} or less: more threads than CPUs slow each other down."
    message = f"{cpus} available of {os.cpu_count()}; PyTorch would use {threads} threads"
    slow = Finding("CPUs", message, "warn", hint)
    processors = slow if threads > cpus else Finding("CPUs", message)
    version = _find_version("bitsandbytes")
    missing = "bitsandbytes is missing, which the backbones' variants nf4 need (extra nf4)"
    four_bits = Finding("4-bit weights", f"bitsandbytes {version}" if version else missing)
    return [processors, _check_gpus(), four_bits]


def _check_gpus() -> Finding:
    from bench.models.lm import devices

    gpus = devices.list_gpus()
    if gpus:
        message = ", ".join(f"{gpu.name} ({gpu.memory_gib:.0f} GiB)" for gpu in gpus)
        if all(gpu.bfloat16 for gpu in gpus):
            return Finding("GPUs", f"{message}; bfloat16")
        hint = "Backbones in bfloat16 do not run here: use --model-set dtype=float32."
        return Finding("GPUs", f"{message}; no bfloat16", "warn", hint)
    if not DRIVER.exists():
        return Finding("GPUs", "none; models compute on the CPU")
    reason = "finds no GPU" if devices.has_cuda() else "was built without CUDA"
    message = f"an NVIDIA driver is installed, but PyTorch {reason}"
    hint = "Install PyTorch for your CUDA version, or check CUDA_VISIBLE_DEVICES."
    return Finding("GPUs", message, "warn", hint)


def check_ray() -> Finding:
    """Start Ray, run one task, stop it."""
    from bench.runner.ray_process import RayProcess

    started = time.monotonic()
    try:
        process = RayProcess("bench.runner.ray_session:RaySession", address=None, num_cpus=1)
    except BenchError as error:
        return Finding("Ray", error.message, "fail", error.hint)
    try:
        process.call("run_task")
    except BenchError as error:
        message = f"a task failed: {error.message}".split("\n")[0]
        return Finding("Ray", message, "fail", "Try --executor inline.")
    finally:
        process.end()
    return Finding("Ray", f"started and ran a task in {time.monotonic() - started:.1f} s")


def check_network() -> list[Finding]:
    """Contact the hub and every host that a data set's card names; nothing is downloaded."""
    files = [file for card in _load_dataset_cards().values() for file in card.files.values()]
    urls = [source.url for file in files for source in file.sources if source.url]
    hosts = sorted({HUB, *(urlsplit(url).netloc.rpartition("@")[2] for url in urls)})
    silent = [host for host in hosts if not _answers(host)]
    if not silent:
        return [Finding("network", f"{len(hosts)} hosts answer")]
    message = f"no answer within {NETWORK_SECONDS:.0f} s: {', '.join(silent)}"
    hint = "Download files by hand (--data-dir), and run with --offline."
    return [Finding("network", message, "warn", hint)]


def _answers(host: str) -> bool:
    request = urllib.request.Request(f"https://{host}/", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=NETWORK_SECONDS):  # noqa: S310
            return True
    except urllib.error.HTTPError:  # a refusal is an answer
        return True
    except OSError:
        return False


def check_disks(folders: Mapping[str, Path]) -> list[Finding]:
    """Check the free space for some folders, by option name, and for the asset cache."""
    findings = []
    for name, folder in {**folders, "cache": cache_folder()}.items():
        free = shutil.disk_usage(_find_existing(folder)).free / 2**30
        hint = f"Free some, or move it ({'$BENCH_CACHE' if name == 'cache' else f'--{name}'})."
        message = f"{free:.1f} GiB free for {folder}"
        low = Finding(f"disk, {name}", message, "fail" if free < FAIL_GIB else "warn", hint)
        findings.append(low if free < WARN_GIB else Finding(f"disk, {name}", message))
    return findings


def _find_existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def check_store(store: Path) -> Finding:
    """Try on the store's file system what it relies on: flush, rename, locks."""
    try:
        if store.exists() and not store.is_dir():
            raise OSError("not a folder")
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=_find_existing(store)) as folder:
            _try_file_system(Path(folder))
    except BenchError as error:
        return Finding("store", error.message, "fail", error.hint)
    except (OSError, NotImplementedError) as error:
        message = f"{store}: {getattr(error, 'strerror', None) or error}"
        hint = "Name a folder on another disk with --store; several machines need a shared one."
        return Finding("store", message, "fail", hint)
    return Finding("store", f"{store}: writing, renaming and locking work")


def _try_file_system(folder: Path) -> None:
    """Raise an error if something does not work in a folder."""
    building, committed = folder / "building", folder / "committed"
    building.mkdir()
    with (building / "file").open("wb") as file:
        file.write(b"content")
        file.flush()
        os.fsync(file.fileno())
    building.rename(committed)
    if (committed / "file").read_bytes() != b"content" or building.exists():
        raise OSError("a renamed folder differs from what was written")
    require_locks(folder)
    lock = folder / "lock"
    with contextlib.suppress(Timeout), FileLock(lock), FileLock(lock).acquire(timeout=0):
        raise OSError("a lock can be acquired twice")


def check_plugins() -> list[Finding]:
    """List methods and cards that cannot be loaded."""
    try:
        lines = list(map(_import_method, plugins.list_methods()))
        for kind in plugins.CARDS:
            lines += plugins.list_cards(kind)
    except BenchError as error:
        return [Finding("plug-ins", error.message, "fail", error.hint)]
    hint = "Fix it, or remove its folder from $BENCH_PATH."
    broken = [
        Finding("plug-ins", f"{line.name}: {line.error}", "warn", hint)
        for line in lines
        if line.error
    ]
    return broken or [Finding("plug-ins", f"{len(lines)} methods and cards load")]


def _import_method(line: plugins.Listed) -> plugins.Listed:
    """Import a listed method; listing only reads its file."""
    try:
        if not line.error:
            plugins.method_class(line.name)
    except BenchError as error:
        return plugins.Listed(name=line.name, error=error.message)
    return line


def check_cached_files() -> Finding:
    """Compare the cached files of data sets and encoders with the checksums of their cards."""
    encoders = map(plugins.encoder_card, plugins.card_paths("encoders"))
    files = [file for card in _load_dataset_cards().values() for file in card.files.values()]
    files += [file for card in encoders for file in card.files.values()]
    checksums = {cached_path(file): file.sha256 for file in files if file.sha256}
    cached = [path for path in checksums if path.is_file()]
    damaged = [str(path) for path in cached if checksum(path) != checksums[path]]
    if damaged:
        message = f"checksums differ from the cards: {', '.join(damaged)}"
        hint = "Delete them; they will be fetched again."
        return Finding("cached files", message, "fail", hint)
    message = f"{len(cached)} of {len(checksums)} are cached, with the checksums of their cards"
    return Finding("cached files", message)


def _load_dataset_cards() -> dict[str, DatasetCard]:
    names = [line.name for line in plugins.list_cards("datasets") if not line.error]
    return {name: plugins.dataset_card(name) for name in names}


def check_datasets(data_dir: Path | None) -> Finding:
    """List the data sets whose files are all in the user's folder or in the cache."""
    cards = _load_dataset_cards()
    try:
        available = [
            name
            for name, card in cards.items()
            if all(local_file(file, data_dir) for file in card.files.values())
        ]
    except BenchError as error:
        return Finding("data sets", error.message, "warn", error.hint)
    message = f"{len(available)} of {len(cards)} available locally: {_join_names(available)}"
    return Finding("data sets", message)


def measure_throughput(store: Path) -> list[Finding]:
    """Measure every class of device of this machine, and keep the numbers in the store."""
    from bench.models.lm.devices import time_device

    findings = []
    for device in dict.fromkeys(("cpu", planned_device())):
        name, flops, bandwidth = time_device(device)
        throughput = cost_model.Throughput(
            device=device, name=name, flops=flops, bytes_per_second=bandwidth
        )
        cost_model.write_throughput(throughput, store)
        message = (
            f"{flops / 1e9:,.0f} GFLOP/s in matrix products, "
            f"{bandwidth / 1e9:,.0f} GB/s of memory ({name})"
        )
        findings.append(Finding(f"throughput of {device}", message))
    return findings
