"""Versions of the stage kinds: which code changes make results stale.

A key holds its stage's code, so any edit makes new artifacts; but most edits change no number, and
a board must not call every result stale for them. So each kind has a version that its results
carry. It is raised when the kind's output may differ; `bench/stages/versions.toml` records which
code it stands for.

    python -m bench.plan.code_versions                                  list changed kinds
    python -m bench.plan.code_versions --same-output "how checked"      keep the version
    python -m bench.plan.code_versions --new-version                    older results become stale

The last two apply to all changed kinds, or to those named at the end of the command.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from bench.config.scoped_cache import once
from bench.config.toml import Card, check_card, read_toml
from bench.errors import BenchError, unknown
from bench.plan.code_hash import PACKAGE, module_hash

FILE = PACKAGE / "stages" / "versions.toml"
DIGITS = 16
HEAD = """\
# The version of each stage kind, the code it stands for, and how equality with the code before was
# checked. Written by `python -m bench.plan.code_versions`.
"""


class Version(Card):
    """The recorded version of a stage kind.

    Attributes:
        version: Its version, from 1.
        code: Hash of its code; see `bench.plan.code_hash.module_hash`.
        checked: How the output was found equal to that of the code recorded before; empty if the
            version was raised.
    """

    version: int
    code: str
    checked: str = ""


def stage_kinds() -> list[str]:
    """Return the names of all stage kinds."""
    return sorted(path.stem for path in (PACKAGE / "stages").glob("[!_]*.py"))


def code_of(kind: str) -> str:
    """Return the hash of a kind's code, as it enters its keys, shortened."""
    return module_hash(f"bench.stages.{kind}")[:DIGITS]


@cache
def recorded_versions() -> Mapping[str, Version]:
    """Return the recorded version of each kind."""
    return {
        kind: check_card(content, Version, f"{FILE}, {kind}")
        for kind, content in read_toml(FILE).items()
    }


@once
def version_of(kind: str) -> int | None:
    """Return the version of a kind's present code; None if that code is not recorded."""
    version = recorded_versions().get(kind)
    return version.version if version is not None and version.code == code_of(kind) else None


def changed_kinds(recorded: Mapping[str, Version]) -> list[str]:
    """List the kinds whose code is not the recorded one, new and removed kinds included."""
    kinds = stage_kinds()
    changed = [
        kind for kind in kinds if kind not in recorded or recorded[kind].code != code_of(kind)
    ]
    return changed + [kind for kind in sorted(recorded) if kind not in kinds]


def update_versions(
    recorded: Mapping[str, Version], kinds: Iterable[str], *, same_output: str = ""
) -> dict[str, Version]:
    """Record the present code of changed kinds: version 1 for a new one, none for a removed one.

    `same_output` says how the output was found to be the same; without it versions are raised.
    """
    versions, existing = dict(recorded), stage_kinds()
    for kind in kinds:
        old = versions.pop(kind, None)
        if kind not in existing:
            continue
        number = 1 if old is None else old.version + (not same_output)
        checked = same_output if old is not None else ""
        versions[kind] = Version(version=number, code=code_of(kind), checked=checked)
    return dict(sorted(versions.items()))


def to_toml(versions: Mapping[str, Version]) -> str:
    """Write versions as TOML."""
    tables = [
        f'[{kind}]\nversion = {version.version}\ncode = "{version.code}"\n'
        + (f"checked = {json.dumps(version.checked, ensure_ascii=False)}\n" * bool(version.checked))
        for kind, version in versions.items()
    ]
    return "\n".join([HEAD, *tables])


def main(arguments: Sequence[str] | None = None) -> int:
    """List or record changed kinds; returns 1 if changed code is not recorded."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.plan.code_versions",
        description="Record the code of stage kinds that changed.",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--same-output", metavar="HOW", help="keep versions; how it was checked")
    action.add_argument("--new-version", action="store_true", help="raise versions by 1")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="all changed kinds by default")
    options = parser.parse_args(arguments)
    recorded = recorded_versions() if FILE.is_file() else {}
    changed = changed_kinds(recorded)
    for kind in options.kinds:
        if kind not in changed:
            raise unknown("changed stage kind", kind, changed)
    if options.same_output is None and not options.new_version:
        print("\n".join(changed) or "The code of every stage kind is as recorded.")
        return 1 if changed else 0
    same_output = (options.same_output or "").strip()
    if not same_output and not options.new_version:
        raise BenchError("A reason is missing.", "Say how the output was found to be the same.")
    kinds = options.kinds or changed
    versions = update_versions(recorded, kinds, same_output=same_output)
    FILE.write_text(to_toml(versions), encoding="utf-8")
    recorded_versions.cache_clear()
    for kind in kinds:
        print(f"{kind}: version {versions[kind].version}" if kind in versions else f"{kind}: gone")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"{error.message} {error.hint}")
