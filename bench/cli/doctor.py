"""`bench doctor`: check whether this machine and this folder can run benchmarks."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import typer

from bench.cli import options as o

MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def doctor(
    ray: Annotated[bool, typer.Option("--ray", help="Also start Ray and run one task.")] = False,
    network: Annotated[
        bool, typer.Option("--network", help="Also contact the hosts of raw files.")
    ] = False,
    store: o.StoreFolder = o.STORE,
    results: o.ResultsFolder = o.RESULTS,
    data_dir: o.DataDir = None,
    as_json: o.AsJson = False,
) -> None:
    """Check Python, libraries, CPUs, GPUs, disks, store, local files; exit code 1 on a FAIL."""
    from bench.cli.doctor_checks import files, machine

    findings = [
        *machine.check_software(),
        *machine.check_processors(),
        *files.check_disks({"store": store, "results": results}),
        files.check_store(store),
        *files.check_plugins(),
        files.check_cached_files(),
        files.check_datasets(data_dir),
    ]
    if ray:
        findings.append(machine.check_ray())
    if network:
        findings += machine.check_network()
    if as_json:
        o.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{MARKS[finding.state]}  {finding.name}: {finding.message}")
            if finding.hint:
                print(f"      {finding.hint}")
    sys.exit(any(finding.state == "fail" for finding in findings))
