"""Runs a function in a process of its own that is killed in the midst of writing a checkpoint."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from bench.models.lm.decode import decoding
from bench.models.lm.train import checkpoints


def kill_while_saving(run: Callable[[], Any], *, saves: int) -> None:
    """Run until checkpoint number `saves`, of which only a part is written."""

    def child() -> None:
        checkpoints.INTERVAL_SECONDS = decoding.INTERVAL_SECONDS = -1
        count = 0

        def kill(save: Callable[..., None]) -> Callable[..., None]:
            def killed(*args: Any, **kwargs: Any) -> None:
                nonlocal count
                count += 1
                if count == saves:
                    os.kill(os.getpid(), signal.SIGKILL)
                save(*args, **kwargs)

            return killed

        checkpoints.weights.write_tensors = kill(checkpoints.weights.write_tensors)
        decoding.write_atomic = kill(decoding.write_atomic)
        run()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
