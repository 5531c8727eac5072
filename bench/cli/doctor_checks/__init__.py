"""Checks of a machine and a folder: what is right, doubtful or wrong, each with a hint."""

from bench.cli.doctor_checks.files import cached_files, data_at_hand, disks, keeps_files, plug_ins
from bench.cli.doctor_checks.finding import Finding
from bench.cli.doctor_checks.machine import network, processors, ray_starts, software

__all__ = [
    "Finding",
    "cached_files",
    "data_at_hand",
    "disks",
    "keeps_files",
    "network",
    "plug_ins",
    "processors",
    "ray_starts",
    "software",
]
