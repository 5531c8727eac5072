"""A child of the Ray executor without Ray, which dies or hangs as Ray does when it is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path


class Slots:
    """Runs nothing. Started for the nth time, it does at once what word n of $FAKE_RAY says.

    Args:
        options: Ignored.
    """

    def __init__(self, **options: object) -> None:
        folder = Path(os.environ["FAKE_RAY_FOLDER"])
        number = len(list(folder.glob("started-*")))
        (folder / f"started-{os.getpid()}").touch()
        words = os.environ["FAKE_RAY"].split()
        if number < len(words):
            getattr(self, words[number])()

    def start(self) -> None: ...

    def lose_head(self) -> None:
        """Start a process with the name of Ray's, kill it, and wait as Ray does."""
        head = shutil.copy(shutil.which("sleep") or "", os.environ["FAKE_RAY_FOLDER"])
        head = shutil.move(head, Path(head).with_name("gcs_server"))
        subprocess.Popen([head, "600"]).kill()
        time.sleep(600)

    def hang(self) -> None:
        time.sleep(600)

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fail(self) -> None:
        raise ValueError("instructed to fail")

    def wait(self) -> list[object]:
        return []

    def stop(self) -> list[str]:
        return ["ended"]

    def submit(self, task: object) -> None: ...

    def has_capacity(self, request: object) -> bool:
        return True

    def close(self) -> None: ...
