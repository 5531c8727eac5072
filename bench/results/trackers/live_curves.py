"""Live training curves through the tracker callbacks of transformers' Trainer.

The trainers of this project read $BENCH_REPORT_TO. Callbacks are wrapped, so that a tracker that
fails is dropped for the rest of the process and never stops a training.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import environ
from typing import Any
from unittest.mock import patch

from bench.results.trackers import tensorboard

REPORT_TO = "BENCH_REPORT_TO"
INTEGRATIONS = "transformers.integrations.integration_utils"

_failed: set[str] = set()


@contextmanager
def report_live_curves(environments: Mapping[str, Mapping[str, str]], run: str) -> Iterator[None]:
    """Report what trainers log in this block to the trackers with these environments, as one run.

    Does nothing if no Trainer is imported. Libraries that cannot be imported are left out.
    """
    names = [name for name in environments if name not in _failed and _is_installed(name)]
    if not names or INTEGRATIONS not in sys.modules:
        yield
        return
    callbacks: dict[str, Any] = sys.modules[INTEGRATIONS].INTEGRATION_TO_CALLBACK
    guarded = {  # one class each, as a Trainer warns of two callbacks of one class
        name: type(name, (GuardedCallback,), {})(name, callbacks[name], run) for name in names
    }
    variables = {key: value for name in names for key, value in environments[name].items()}
    if "tensorboard" in names:
        variables[tensorboard.FOLDER] += f"/live/{run}"
    variables[REPORT_TO] = ",".join(names)
    with patch.dict(environ, variables), patch.dict(callbacks, guarded):
        yield


def _is_installed(tracker: str) -> bool:
    library = importlib.import_module(f"{__package__}.{tracker}").LIBRARY
    return importlib.util.find_spec(library) is not None


class GuardedCallback:
    """Passes a Trainer's events to a tracker's callback until that fails."""

    def __init__(self, tracker: str, callback_class: Callable[[], Any], run: str) -> None:
        self._tracker = tracker
        self._callback_class = callback_class
        self._run = run
        self._callback: Any = None

    def __getattr__(self, event: str) -> Callable[..., None]:
        if not event.startswith("on_"):
            raise AttributeError(event)

        def forward(args: Any, *rest: Any, **kwargs: Any) -> None:
            if self._tracker in _failed:
                return
            try:
                args.run_name = self._run
                if self._callback is None:
                    self._callback = self._callback_class()
                getattr(self._callback, event)(args, *rest, **kwargs)
                if event == "on_train_end" and self._tracker == "wandb":
                    sys.modules["wandb"].finish()  # else the next training continues this run
            except Exception as error:  # a tracker's library may raise anything
                _failed.add(self._tracker)
                print(f"Warning: no live curves in {self._tracker}: {error}", file=sys.stderr)

        return forward
