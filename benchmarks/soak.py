"""Small trials on a Ray cluster whose workers, nodes and driver are killed at random.

Four item-ID methods on generated data run on several nodes of one CPU each. Whenever enough trials
have ended since the last kill, and after a random wait, a busy worker, a whole node (a new one
takes its place) or the driver (the same command is started again) gets SIGKILL. Meanwhile the store
and the results are watched:

    lost      a sealed artifact or an ended trial that is gone later, or a trial that never ended
    repeated  a stage that was begun, or an artifact or result written, after the first was sealed

At the end `bench report --json` must equal, byte for byte, that of a run that nobody disturbed.

    python benchmarks/soak.py [--trials 200] [--kills 45] [--nodes 3] [--seed 0] [--out soak.json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

METHODS = ("random", "popularity", "sasrec", "gru4rec")
KINDS = ("worker", "node", "driver")
WEIGHTS = (7, 2, 1)
LONGEST_WAIT = 2.0
LONGEST_WAIT_FOR_WORK = 30.0
LOOK_EVERY = 0.05
MOST_SECONDS = 3600.0

BENCH = (sys.executable, "-m", "bench.cli")


def command(trials: int, *more: str) -> list[str]:
    chosen = [word for method in METHODS for word in ("--method", method)]
    seeds = str(max(1, trials // len(METHODS)))
    scale = ("--dataset", "synthetic", "--budget", "smoke", "--seeds", seeds)
    return [*BENCH, "run", *chosen, *scale, "--json", *more]


def report(folder: Path) -> str:
    done = subprocess.run(
        [*BENCH, "report", "--json"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


# --- watching -----------------------------------------------------------------------------------


@dataclass
class Watch:
    """What was seen of a run's store and results; a file or folder is told by its inode.

    Attributes:
        sealed: Inode of every artifact by "kind-key".
        ended: Inode of every result that ended well.
        begun: Names of the folders that were seen under construction.
        repeated: What was done again.
        lost: What was there and is not.
    """

    folder: Path
    sealed: dict[str, int] = field(default_factory=dict)
    ended: dict[Path, int] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    repeated: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look once more, and at everything."""
        self._stop.set()
        self._thread.join()
        self.look()
        store = self.folder / ".bench" / "store"
        aside = [*store.glob(".aside/*"), *(self.folder / "results").glob(".aside/*")]
        self.repeated += [f"{path.name} was moved aside" for path in aside]

    def _look_on(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            self.look()

    def look(self) -> None:
        """Compare with what was seen before; folders under construction first: they turn sealed."""
        store = self.folder / ".bench" / "store"
        for name in {path.name for path in _entries(store / ".building")} - self.begun:
            self.begun.add(name)
            if name.rpartition("-")[0] in self.sealed:
                self.repeated.append(f"{name} was begun")
        kinds = [path for path in _entries(store) if not path.name.startswith(".")]
        artifacts = {
            f"{kind.name}-{entry.name}": entry.inode() for kind in kinds for entry in _entries(kind)
        }
        self._compare(self.sealed, artifacts)
        self.sealed |= artifacts
        here = {path: path.stat().st_ino for path in self.folder.glob("results/*/*/*/seed-*.json")}
        self._compare(self.ended, {path: here[path] for path in self.ended if path in here})
        for path in here.keys() - self.ended.keys():
            if json.loads(path.read_bytes())["status"] == "ok":
                self.ended[path] = path.stat().st_ino

    def _compare(self, before: dict[Any, int], now: dict[Any, int]) -> None:
        for name in [name for name in before if name not in now]:
            self.lost.append(str(name))
            del before[name]
        again = [name for name in before if before[name] != now[name]]
        self.repeated += [f"{name} was written" for name in again]
        before.update({name: now[name] for name in again})


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except FileNotFoundError:
        return []


# --- killing ------------------------------------------------------------------------------------


class Soak:
    """One disturbed run: a cluster, a driver, and a hand that kills."""

    def __init__(self, folder: Path, *, trials: int, kills: int, nodes: int, seed: int) -> None:
        self.folder, self.num_trials, self.num_kills = folder, trials, kills
        self.dice = random.Random(seed)
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(nodes)]
        self.kills: Counter[str] = Counter()
        self.drivers: Counter[str] = Counter()
        self.log = (folder / "drivers.log").open("ab")
        self.watch = Watch(folder)
        self.driver = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command, as a user would again."""
        self.drivers["started"] += 1
        line = command(self.num_trials, "--address", self.cluster.address)
        return subprocess.Popen(line, cwd=self.folder, stdout=self.log, stderr=self.log)

    def run(self) -> None:
        """Go on until a driver ends well, with all kills done on the way."""
        until = time.monotonic() + MOST_SECONDS
        while time.monotonic() < until:
            time.sleep(LOOK_EVERY)
            code = self.driver.poll()
            if code == 0:
                return
            if code is not None:
                # 1: a trial lost its worker three times. Others: its own node was killed.
                self.drivers["failed cells" if code == 1 else f"ended with {code}"] += 1
                self.driver = self.start()
            due = sum(self.kills.values()) * self.num_trials / (self.num_kills + 1)
            if sum(self.kills.values()) < self.num_kills and len(self.watch.ended) >= due:
                time.sleep(self.dice.uniform(0, LONGEST_WAIT))
                self.kill(self.dice.choices(KINDS, WEIGHTS)[0])

    def kill(self, kind: str) -> None:
        """Kill one of a kind, if there is one."""
        if kind == "worker":
            busy = self.busy()
            if not busy:
                return
            self.dice.choice(busy).kill()
        elif kind == "node":
            node = self.dice.choice(self.nodes)
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes[self.nodes.index(node)] = self.cluster.add_node(num_cpus=1)
        elif self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()
            self.driver = self.start()
        else:
            return
        self.kills[kind] += 1

    def busy(self) -> list[psutil.Process]:
        """Wait for workers of our own nodes that are at work; none where that lasts too long."""
        until = time.monotonic() + LONGEST_WAIT_FOR_WORK
        while time.monotonic() < until and self.driver.poll() is None:
            workers = [worker for node in self.nodes for worker in _workers(node)]
            if workers:
                return sorted(workers, key=lambda one: one.pid)
            time.sleep(LOOK_EVERY)
        return []

    def close(self) -> None:
        """Stop everything."""
        if self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()
        self.watch.close()
        self.log.close()
        self.cluster.shutdown()


def _workers(node: Any) -> list[psutil.Process]:
    try:
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        return [one for one in raylet.children(recursive=True) if "ray::work" in one.name()]
    except psutil.NoSuchProcess:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--kills", type=int, default=45)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    asked = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        folder, calm = Path(place, "disturbed"), Path(place, "calm")
        for one in (folder, calm):
            one.mkdir()
        started = time.monotonic()
        soak = Soak(
            folder, trials=asked.trials, kills=asked.kills, nodes=asked.nodes, seed=asked.seed
        )
        try:
            soak.run()
        finally:
            soak.close()
        seconds = time.monotonic() - started
        undisturbed = command(asked.trials, "--executor", "inline")
        subprocess.run(undisturbed, cwd=calm, check=True, stdout=subprocess.DEVNULL)
        trials = len(list(calm.glob("results/*/*/*/seed-*.json")))
        lost = [*soak.watch.lost, *["a trial"] * (trials - len(soak.watch.ended))]
        content = {
            "trials": trials,
            "artifacts": len(soak.watch.sealed),
            "nodes": asked.nodes,
            "seed": asked.seed,
            "kills": {kind: soak.kills[kind] for kind in KINDS},
            "kills_together": sum(soak.kills.values()),
            "drivers": dict(sorted(soak.drivers.items())),
            "lost": len(lost),
            "repeated": len(soak.watch.repeated),
            "same_report": report(folder) == report(calm),
            "seconds": round(seconds, 1),
        }
        if lost or soak.watch.repeated or not content["same_report"]:
            print((folder / "drivers.log").read_text()[-5000:], file=sys.stderr)
            print("lost:", *lost, "repeated:", *soak.watch.repeated, sep="\n", file=sys.stderr)
    asked.out.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content, indent=1))
    assert content["lost"] == content["repeated"] == 0
    assert content["same_report"]
    assert content["kills_together"] >= asked.kills


if __name__ == "__main__":
    main()
