"""Ray on this machine or on a cluster: start or join it, notice its death, remove its files."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any, Unpack

import ray

from bench.config.search_path import user_folders
from bench.errors import BenchError
from bench.plan.device import Device
from bench.runner.executors import THREAD_ENVIRONMENT, ExecutorLostError
from bench.runner.ray_process import RayOptions, remove_old_sessions
from bench.runner.resources import count_cpus

OBJECT_STORE_BYTES = 128 * 2**20  # only keys and plain values are sent
MAX_LOG_BYTES = 2**20
"""Bytes per log file; Ray writes what stages print into such files, and keeps one older one."""
REGISTER_SECONDS = 40
"""How long Ray waits for a worker that starts; it notices no earlier that one died meanwhile."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_register_timeout_seconds": str(REGISTER_SECONDS),
    # A driver that waits for workers that start beforehand waits for ever if one of them dies.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_ROTATION_MAX_BYTES": str(MAX_LOG_BYTES),
    "RAY_ROTATION_BACKUP_COUNT": "1",
}
SILENCE_SECONDS = 30.0
"""A cluster whose head refuses connections for that long is lost; Ray itself aborts after 60."""


class RaySession:
    """A connection to Ray, which is started here unless an address is given.

    Raises:
        BenchError: Ray cannot start; an `ExecutorLostError` if it was to start here.
    """

    def __init__(self, **options: Unpack[RayOptions]) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        address = options.get("address")
        self.is_local = address is None
        local: dict[str, Any] = {
            "num_cpus": options.get("num_cpus") or count_cpus(),
            "num_gpus": options.get("num_gpus"),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_temp_dir": str(remove_old_sessions()),
        }
        # Absolute paths, since Ray chooses a worker's working folder.
        folders = os.pathsep.join(map(str, user_folders()))
        env_vars = {name: os.environ.get(name, value) for name, value in THREAD_ENVIRONMENT.items()}
        env_vars |= {"BENCH_PATH": folders} if folders else {}
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"env_vars": env_vars},
                **(local if self.is_local else {}),
            )
        except Exception as error:  # Ray raises a bare one where starting takes too long
            failure = ExecutorLostError if self.is_local else BenchError  # a busy machine is late
            raise failure(f"Ray could not start: {error}.", "Try --executor inline.") from error
        self._node: Any = ray._private.worker._global_node
        self._answered = time.monotonic()

    def find_loss(self) -> str:
        """Return a sentence if Ray has died, else "".

        Of a local Ray these are its own processes; its agents and its raylet die together.
        """
        if self.is_local:
            dead = [name for name, _ in self._node.dead_processes()]
            return f"Ray died on this machine ({', '.join(dead)})." if dead else ""
        address = self._node.gcs_address
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=SILENCE_SECONDS).close()
            self._answered = time.monotonic()
        except OSError:
            silence = time.monotonic() - self._answered
            if silence > SILENCE_SECONDS:
                return f"The Ray cluster at {address} has not answered for {silence:.0f} s."
        return ""

    def get_device(self) -> Device:
        """Return the device class of its stages: a GPU's if any node has one for Ray to assign."""
        return "cuda" if ray.cluster_resources().get("GPU", 0) else "cpu"  # type: ignore[no-untyped-call]

    def run_task(self) -> None:
        """Run a task that does nothing."""
        ray.get(ray.remote(max_retries=0)(lambda: None).remote())

    def close(self) -> None:
        """Leave Ray; stop it and remove its files if it was started here."""
        folder = Path(self._node.get_session_dir_path()) if self.is_local else None
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
