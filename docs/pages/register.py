"""Disagreements between papers and programs, from `register.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from .markdown import document, prose

FILE = Path(__file__).with_name("register.toml")
OPENING = """Papers and their released programs do not always agree, and some details are in
neither. Each entry states both and what is done here. Where only the paper or only the program was
available, the entry says so."""


class Entry(BaseModel):
    """One disagreement."""

    model_config = ConfigDict(extra="forbid")

    title: str
    about: list[str]
    paper: str = ""
    program: str = ""
    here: str


class Group(BaseModel):
    """Entries under one heading."""

    model_config = ConfigDict(extra="forbid")

    title: str
    entries: list[Entry]


def groups() -> list[Group]:
    """Read the register."""
    content = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return [Group.model_validate(one) for one in content["groups"]]


def entries_about(name: str) -> list[Entry]:
    """Return the entries about a method, data set or board."""
    return [entry for group in groups() for entry in group.entries if name in entry.about]


def written(entries: Iterable[Entry], level: int) -> str:
    """Write entries, each with a heading."""
    parts = []
    for entry in entries:
        parts.append(f"{'#' * level} {entry.title}")
        for label, text in (("Paper", entry.paper), ("Program", entry.program)):
            if text:
                parts.append(f"*{label}:* {prose(text)}")
        parts.append(f"**Here:** {prose(entry.here)}")
    return "\n\n".join(parts)


def page() -> str:
    """Write the register's page."""
    parts = []
    for group in groups():
        parts += [f"## {group.title}", written(group.entries, 3)]
    return document("Where papers and programs disagree", OPENING, *parts)
