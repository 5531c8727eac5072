"""Ray in a watched process of its own.

Where Ray's head dies, Ray blocks the process that is connected to it, and ends it after 60 seconds.
Only a child of the driver is connected, so that the driver notices at once and survives.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypedDict

import psutil

from bench.errors import BenchError, describe_exception
from bench.runner.executors import ExecutorLostError

CALL_SECONDS = 60.0
START_SECONDS = 120.0
"""Maximum seconds for an answer. Ray starts in 3 s, and in 46 s next to ten processes per core."""
END_SECONDS = 10.0
POLL_SECONDS = 0.25
HEAD_PROCESSES = ("gcs_server", "raylet")


class RayOptions(TypedDict, total=False):
    """Which Ray to use.

    Attributes:
        address: A running cluster's address; None starts Ray on this machine.
        num_cpus: CPUs that Ray may use here, like num_gpus; None for all of them.
    """

    address: str | None
    num_cpus: int | None
    num_gpus: int | None


class RayProcess:
    """An object that talks to Ray, in a child of this process.

    It is created from its class, `module:name`, and the options; its `close` ends it.

    Raises:
        ExecutorLostError: The child or its Ray has died, or has not answered.
        BenchError: The class raised it.
    """

    def __init__(self, created: str, **options: Any) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._num_calls = 0
        self.unread: list[Any] = []  # values of calls that a signal interrupted
        code = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            f"from {__name__} import serve; serve({theirs.fileno()})"
        )
        # A session of its own, so that Ctrl-C reaches the driver only.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        try:
            self.call(created, options, seconds=START_SECONDS)
        except BaseException:
            self.end(seconds=0)
            raise

    def call(self, method: str, *args: Any, seconds: float = CALL_SECONDS) -> Any:
        """Return what a method of the object returns within some seconds."""
        self._num_calls += 1
        with _report_death():
            self._pipe.send((self._num_calls, method, args))
        return self.receive(seconds)

    def receive(self, seconds: float) -> Any:
        """Return the value of the last call, within some seconds."""
        until = time.monotonic() + seconds
        number = 0
        with _report_death():
            while number < self._num_calls:
                while not self._pipe.poll(POLL_SECONDS):
                    self._raise_if_lost(until)
                number, error, value = self._pipe.recv()
                if number < self._num_calls:
                    self.unread.append(value)
        if error is not None:
            raise error
        return value

    def interrupt(self) -> None:
        """Send the child what Ctrl-C would send."""
        self._process.send_signal(signal.SIGINT)

    def end(self, *, seconds: float = END_SECONDS) -> None:
        """End the child and its Ray, kill what does not end in time, and remove Ray's files."""
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self._process.pid).children(recursive=True)
        if seconds:
            self._pipe.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        remove_old_sessions()

    def _raise_if_lost(self, until: float) -> None:
        dead = []
        with contextlib.suppress(psutil.Error):
            dead = [
                child.name()
                for child in psutil.Process(self._process.pid).children()
                if child.status() == psutil.STATUS_ZOMBIE and child.name() in HEAD_PROCESSES
            ]
        if dead:
            raise ExecutorLostError(f"Ray died on this machine ({', '.join(dead)}).")
        if time.monotonic() > until:
            raise ExecutorLostError("Ray has not answered in time.")


@contextmanager
def _report_death() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise ExecutorLostError("The process that runs Ray died.") from error


def serve(descriptor: int) -> None:
    """Answer calls until the driver closes its end or dies."""
    pipe = Connection(descriptor)
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_receive, args=(pipe, calls, busy), daemon=True).start()
    created: Any = None
    while call := calls.get():
        number, name, args = call
        error, value = None, None
        try:
            if created is None:
                module, _, name = name.partition(":")
                created = getattr(importlib.import_module(module), name)(**args[0])
            else:
                value = getattr(created, name)(*args)
        except BenchError as mistake:
            error = mistake
        except KeyboardInterrupt:
            break
        except Exception as failure:
            error = BenchError(f"Ray failed: {describe_exception(failure)}")
        busy.clear()
        with contextlib.suppress(OSError):
            pipe.send((number, error, value))
    if created is not None:
        created.close()


def _receive(pipe: Connection, calls: queue.SimpleQueue[Any], busy: threading.Event) -> None:
    """Pass calls on, and end this process when the driver has gone: at once during a call."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            call = pipe.recv()
            busy.set()
            calls.put(call)
    calls.put(None)
    if not busy.is_set():
        time.sleep(END_SECONDS)
    os._exit(1)


def remove_old_sessions() -> Path:
    """Return the folder of local sessions, without those whose drivers have ended.

    Ray keeps a session's sockets and logs in `session_<date>_<time>_<pid of the driver>`, and
    never removes them.
    """
    # Sockets allow some 100 characters for the whole path.
    parent = Path(tempfile.gettempdir(), f"bench-ray-{os.getuid()}")
    for session in parent.glob("session_2*"):
        try:
            os.kill(int(session.name.rpartition("_")[2]), 0)
        except ProcessLookupError:
            shutil.rmtree(session, ignore_errors=True)
    return parent
