"""Random rounds of kills and corruptions; each must end in the report of an undisturbed run.

A round runs a small grid in a new folder. While a command runs, SIGKILL hits processes of random
kinds at random times, or as soon as there is such a process: the driver, its process that is
connected to Ray, a worker that works or still starts, or a process of Ray (raylet, agents, gcs).
After each command, files of the store, the results and the logs are truncated, flipped, emptied,
deleted, or replaced by a dangling link. Then the command is repeated until it succeeds. Counted,
besides kills and corruptions:

    unequal    rounds whose `bench report --json` differs from that of an undisturbed run
    repeated   sealed artifacts that were intact and were computed again
    lost       sealed artifacts that were intact and are gone
    hangs      commands without any change in their folders for 60 s, in less than 30 s of which one
               of their processes used a CPU or waited for one, or for 300 s (Linux)
    unfinished rounds that did not succeed after `MAX_COMMANDS` commands

    python benchmarks/torture.py [--rounds 60] [--seed 0] [--out torture.json] [--resume]

Rounds are numbered from the seed on and do not depend on each other, so that several processes can
share them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

BENCH = (sys.executable, "-m", "bench.cli")
RUN = (
    *(*BENCH, "run", "--method", "random", "--method", "popularity", "--method", "itemknn"),
    *("--dataset", "synthetic", "--budget", "smoke", "--seeds", "2", "--json", "--cpus", "2"),
)
MAX_KILLS = 2
MAX_CORRUPTIONS = 5
MAX_COMMANDS = 6
MAX_SILENCE = 60.0
MAX_BUSY_SILENCE = 300.0
POLL_SECONDS = 0.2


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes() or b"\0")
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def delete(path: Path) -> None:
    path.unlink()


def detach(path: Path) -> None:
    """Put a link to nowhere in the place of the file's folder, or of the file."""
    target = path.parent if (path.parent / "meta.json").exists() else path
    target.rename(Path(tempfile.mkdtemp(dir=target.parents[1], prefix=".moved-"), "it"))
    target.symlink_to("/nowhere")


CORRUPTIONS: tuple[Callable[[Path], None], ...] = (truncate, flip, empty, delete, detach)


# What the command lines of each kind of process below the driver begin with or soon contain.
KINDS = {
    "raylet": "/raylet/raylet", "gcs": "/gcs_server", "starting worker": "/default_worker.py",
    "worker": "ray::Worker", "agent": "Agent", "connection": "ray_process import serve",
}  # fmt: skip


def find_victims(driver: psutil.Process, kind: str) -> list[psutil.Process]:
    """List the processes of a kind."""
    if kind == "driver":
        return [driver]
    victims = []
    for process in driver.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(KINDS[kind] in argument for argument in process.cmdline()[:4]):
                victims.append(process)
    return victims


def read_state(folder: Path) -> dict[str, tuple[int, float]]:
    """Return size and time of change of every file, which tell whether anything happens."""
    state = {}
    for path in folder.rglob("*"):
        try:
            info = path.lstat()
        except FileNotFoundError:
            continue
        # Heartbeats only touch a file, so that its time tells nothing.
        state[str(path)] = info.st_size, 0.0 if path.suffix == ".jsonl" else info.st_mtime
    return state


def count_busy_seconds(driver: psutil.Process) -> dict[int, float]:
    """Return for how long each of a command's processes used a CPU or waited for one."""
    seconds = {}
    for process in [driver, *driver.children(recursive=True)]:
        with contextlib.suppress(OSError):
            used, waited, _ = Path(f"/proc/{process.pid}/schedstat").read_text().split()
            seconds[process.pid] = (int(used) + int(waited)) / 1e9
    return seconds


class Round:
    """One disturbed run, from an empty folder to success."""

    def __init__(self, folder: Path, dice: random.Random, latest_kill: float) -> None:
        self.folder, self.dice, self.latest_kill = folder, dice, latest_kill
        self.counts: Counter[str] = Counter()
        self.sealed: dict[Path, int] = {}  # inodes by path
        self.damaged: dict[Path, int] = {}

    def run(self) -> None:
        """Repeat the command until it succeeds."""
        for number in range(MAX_COMMANDS):
            disturbed = number < MAX_COMMANDS // 2
            code = self.run_command(MAX_KILLS if disturbed else 0)
            self.compare_artifacts()
            if code == 0 and (number or not disturbed):
                return
            if disturbed:
                self.corrupt()
        self.counts["unfinished"] += 1

    def run_command(self, max_kills: int) -> int:
        """Run the command once, with kills at random times; return its exit code."""
        kills = sorted(
            (
                self.dice.choice((0.0, self.dice.uniform(0, self.latest_kill))),
                self.dice.choice(["driver", *KINDS]),
            )
            for _ in range(self.dice.randint(min(1, max_kills), max_kills))
        )
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(RUN, cwd=self.folder, stdout=log, stderr=log)
        started = changed = time.monotonic()
        driver, busy = psutil.Process(process.pid), dict[int, float]()
        state: dict[str, tuple[int, float]] = {}
        self.counts["commands"] += 1
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            now = time.monotonic()
            if kills and now > started + kills[0][0] and self.kill(driver, kills[0][1]):
                kills.pop(0)
                state = {}
            if (newer := read_state(self.folder)) != state:
                state, changed, busy = newer, now, count_busy_seconds(driver)
            if now < changed + MAX_SILENCE:
                continue
            seconds = count_busy_seconds(driver)
            total = sum(seconds[process] - busy.get(process, 0) for process in seconds)
            if total < MAX_SILENCE / 2 or now > changed + MAX_BUSY_SILENCE:
                self.counts["hangs"] += 1
                for victim in [*driver.children(recursive=True), process]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        victim.kill()
                break
        return process.wait()

    def kill(self, driver: psutil.Process, kind: str) -> bool:
        """Kill a process of a kind; return whether there was one."""
        try:
            victims = find_victims(driver, kind)
            if not victims:
                return False
            self.dice.choice(victims).kill()
        except psutil.NoSuchProcess:
            return False
        self.counts[f"killed {kind}"] += 1
        return True

    def corrupt(self) -> None:
        """Damage some files; damaged artifacts and results may be computed again."""
        store = self.folder / ".bench" / "store"
        files = [path for path in store.glob("[a-z]*/*/*") if path.is_file()]
        files += [path for path in self.folder.glob("results/**/*") if path.is_file()]
        files = [path for path in sorted(files) if path.name != "last-run.json"]
        for _ in range(self.dice.randint(0, MAX_CORRUPTIONS)):
            path, damage = self.dice.choice(files or [self.folder]), self.dice.choice(CORRUPTIONS)
            if not path.is_file() or "boards" in path.parts:
                continue
            if path.parent in self.sealed:
                self.damaged[path.parent] = self.sealed.pop(path.parent)
            damage(path)
            self.counts["corruptions"] += 1

    def compare_artifacts(self) -> None:
        """Compare the artifacts with those that were sealed before."""
        store = self.folder / ".bench" / "store"
        artifacts = {
            path.parent: path.parent.lstat().st_ino for path in store.glob("[a-z]*/*/meta.json")
        }
        for path, inode in self.sealed.items():
            if path not in artifacts:
                self.counts["lost"] += 1
            elif artifacts[path] != inode:
                self.counts["repeated"] += 1
        self.sealed = {
            path: inode for path, inode in artifacts.items() if self.damaged.get(path) != inode
        }


def report(folder: Path) -> str:
    done = subprocess.run([*BENCH, "report", "--json"], cwd=folder, capture_output=True, text=True)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--resume", action="store_true", help="add to the counts in --out")
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    counts: Counter[str] = Counter(json.loads(options.out.read_text()) if options.resume else {})
    bad = ("unequal", "repeated", "lost", "hangs", "unfinished")
    with tempfile.TemporaryDirectory(prefix="torture-") as workspace:
        calm = Path(workspace, "calm")
        calm.mkdir()
        started = time.monotonic()
        subprocess.run(RUN, cwd=calm, check=True, capture_output=True)
        latest_kill = time.monotonic() - started
        expected = report(calm)
        for number in range(options.seed, options.seed + options.rounds):
            folder = Path(workspace, str(number))
            folder.mkdir()
            started = time.monotonic()
            played = Round(folder, random.Random(number), latest_kill)
            played.run()
            played.counts["unequal"] += report(folder) != expected
            played.counts["rounds"] += 1
            counts += played.counts
            print(number, f"{time.monotonic() - started:.0f} s", dict(played.counts), flush=True)
            if any(played.counts[name] for name in bad):
                print((folder / "log").read_text()[-3000:], file=sys.stderr)
            content = dict(sorted(counts.items())) | {name: counts[name] for name in bad}
            options.out.write_text(json.dumps(content, indent=1) + "\n")
    assert not any(counts[name] for name in bad), content


if __name__ == "__main__":
    main()
