"""`bench doctor`: is this machine, and this folder, fit to run?"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Annotated

import typer

from bench.cli import options as o

MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def doctor(
    ray: Annotated[bool, typer.Option("--ray", help="Start Ray and run one task, too.")] = False,
    network: Annotated[
        bool, typer.Option("--network", help="Ask the hosts that files come from, too.")
    ] = False,
    store: o.StoreFolder = o.STORE,
    results: o.ResultsFolder = o.RESULTS,
    data_dir: o.DataDir = None,
    as_json: o.AsJson = False,
) -> None:
    """Check Python, libraries, CPUs, GPUs, disks, the store, files at hand; exit 1 on a FAIL."""
    from bench.cli import doctor_checks

    findings = [
        *doctor_checks.software(),
        *doctor_checks.processors(),
        *doctor_checks.disks({"store": store, "results": results}),
        doctor_checks.keeps_files(store),
        *doctor_checks.plug_ins(),
        doctor_checks.cached_files(),
        doctor_checks.data_at_hand(data_dir),
    ]
    if ray:
        findings.append(doctor_checks.ray_starts())
    if network:
        findings += doctor_checks.network()
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in findings], indent=2))
    else:
        for one in findings:
            print(f"{MARKS[one.state]}  {one.name}: {one.said}")
            if one.hint:
                print(f"      {one.hint}")
    sys.exit(any(one.state == "fail" for one in findings))
