"""Code of others: whatever it raises becomes a sentence, and the process stays as it was.

What one unit of work leaves changed in the process would change the numbers of all that run after
it, under unchanged keys.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from bench.errors import BenchError, describe_exception

MAX_IMPORT_SECONDS = 120.0
"""Time limit of importing a plug-in; torch and transformers take some 10 s the first time."""
LIBRARY_VARIABLES = re.compile(r"(ACCELERATE|CUDA|HF|RAY|TOKENIZERS|TORCHINDUCTOR|TRITON|WANDB)_")
"""Environment variables that libraries set by themselves: restored, but no reason to fail."""


class _Setting(NamedTuple):
    """A global setting of torch; `default` applies where torch is imported inside the block."""

    read: Callable[[Any], Any]
    write: Callable[[Any, Any], Any]
    default: Callable[[Any], Any]


TORCH_SETTINGS = {
    "the default dtype of torch": _Setting(
        lambda torch: torch.get_default_dtype(),
        lambda torch, dtype: torch.set_default_dtype(dtype),
        lambda torch: torch.float32,
    ),
    "the default device of torch": _Setting(
        lambda torch: str(torch.get_default_device()),
        lambda torch, device: torch.set_default_device(None if device == "cpu" else device),
        lambda torch: "cpu",
    ),
    "torch's deterministic mode": _Setting(
        lambda torch: torch.get_deterministic_debug_mode(),
        lambda torch, mode: torch.set_deterministic_debug_mode(mode),
        lambda torch: 0,
    ),
    "torch's float32 precision": _Setting(
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, precision: torch.set_float32_matmul_precision(precision),
        lambda torch: "highest",
    ),
    "torch's gradient mode": _Setting(
        lambda torch: torch.is_grad_enabled(),
        lambda torch, enabled: torch.set_grad_enabled(enabled),
        lambda torch: True,
    ),
    "torch's number of threads": _Setting(
        lambda torch: torch.get_num_threads(),
        lambda torch, threads: torch.set_num_threads(threads),
        lambda torch: torch.get_num_threads(),
    ),
    "cudnn.benchmark": _Setting(
        lambda torch: torch.backends.cudnn.benchmark,
        lambda torch, enabled: setattr(torch.backends.cudnn, "benchmark", enabled),
        lambda torch: False,
    ),
}


@contextmanager
def foreign_code(
    owner: str, failure: str, hint: str = "", *, seconds: float = MAX_IMPORT_SECONDS
) -> Iterator[None]:
    """Turn whatever the block raises, `sys.exit` included, into a `BenchError`.

    Its message is the failure, e.g. "plan() failed", and the exception.

    Raises:
        BenchError: The block raised anything but Ctrl-C, took longer than `seconds`, or changed the
            process.
    """
    try:
        with unchanged_process_state(owner), limit_time(seconds):
            yield
    except (BenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BenchError(f"{failure}: {describe_exception(error)}.", hint) from error


@contextmanager
def limit_time(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError after some seconds; None for no limit.

    It is raised between two instructions of Python: a call into C code ends first. Only the main
    thread can be limited.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"It ran longer than the limit of {seconds:g} s.")

    previous = signal.signal(signal.SIGALRM, expire)
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    started = time.monotonic()
    try:
        yield
    finally:
        elapsed = time.monotonic() - started
        signal.setitimer(signal.ITIMER_REAL, outer and max(outer - elapsed, 0.001))
        signal.signal(signal.SIGALRM, previous)


@contextmanager
def unchanged_process_state(owner: str) -> Iterator[None]:
    """Restore global state of Python, numpy and torch that the block changes.

    Random states are restored too, but may change: whatever this project draws has a seed. The
    owner, what runs in the block, is the subject of the error's sentence.

    Raises:
        BenchError: The block ended normally and left numpy's error state, the working folder, the
            environment or a setting of torch changed.
    """
    folder, environment = working_folder(), dict(os.environ)
    numpy, torch = sys.modules.get("numpy"), _torch()
    errors: dict[str, Any] = numpy.geterr() if numpy else {}
    before = {name: option.read(torch) for name, option in TORCH_SETTINGS.items()} if torch else {}
    random_states = _read_random_states()
    changes: list[str] = []
    try:
        yield
    finally:
        if working_folder() != folder:
            changes.append("the working folder is another")
            with contextlib.suppress(OSError, TypeError):
                os.chdir(folder)  # type: ignore[arg-type]
        if numpy and errors != numpy.geterr():
            changes.append(f"numpy's error state is {numpy.geterr()}")
            numpy.seterr(**errors)
        changes += _restore_torch(before)
        changes += _restore_environment(environment)
        _restore_random_states(random_states)
    if changes:
        raise BenchError(
            f"{owner} changed the process for all that runs after it: {'; '.join(changes)}.",
            "Restore it where it is changed, e.g. with a context manager.",
        )


def _torch() -> Any:
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "get_default_device") else None  # None while it is imported


def working_folder() -> str | None:
    """Return the working folder; None if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _restore_torch(before: Mapping[str, Any]) -> Iterator[str]:
    torch = _torch()
    for name, setting in TORCH_SETTINGS.items() if torch else ():
        value, expected = setting.read(torch), before.get(name, setting.default(torch))
        if value != expected:
            setting.write(torch, expected)
            yield f"{name} is {value}, not {expected}"


def _restore_environment(before: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(os.environ.keys() | before.keys()):
        if os.environ.get(name) != before.get(name):
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]
            if not LIBRARY_VARIABLES.match(name):
                yield f"the environment variable {name} is another"


def _read_random_states() -> dict[str, Any]:
    numpy, torch = sys.modules.get("numpy"), _torch()
    return {
        "random": random.getstate(),
        "numpy": numpy.random.get_state() if numpy else None,
        "torch": torch.get_rng_state() if torch else None,
    }


def _restore_random_states(states: Mapping[str, Any]) -> None:
    random.setstate(states["random"])
    if states["numpy"] is not None:
        sys.modules["numpy"].random.set_state(states["numpy"])
    if states["torch"] is not None:
        sys.modules["torch"].set_rng_state(states["torch"])
