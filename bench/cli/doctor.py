"""`bench doctor`: check whether this machine and this folder can run benchmarks."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from bench.cli import options as o

MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def doctor(
    ray: bool = o.flag("--ray", "Also start Ray and run one task."),
    network: bool = o.flag("--network", "Also contact the hosts of raw files."),
    measure: bool = o.flag("--measure", "Also measure throughput, for bench plan."),
    store: Path = o.STORE,
    results: Path = o.RESULTS,
    data_dir: Path | None = o.DATA_DIR,
    as_json: bool = o.AS_JSON,
) -> None:
    """Check Python, libraries, CPUs, GPUs, disks, store, local files; exit code 1 on a FAIL."""
    from bench.cli import doctor_checks as checks

    findings = [
        *checks.check_software(),
        *checks.check_processors(),
        *checks.check_disks({"store": store, "results": results}),
        checks.check_store(store),
        *checks.check_plugins(),
        checks.check_cached_files(),
        checks.check_datasets(data_dir),
    ]
    if ray:
        findings.append(checks.check_ray())
    if network:
        findings += checks.check_network()
    if measure:
        findings += checks.measure_throughput(store)
    if as_json:
        o.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{MARKS[finding.state]}  {finding.name}: {finding.message}")
            if finding.hint:
                print(f"      {finding.hint}")
    sys.exit(any(finding.state == "fail" for finding in findings))
