"""Versions of the stage kinds: which changes of code make results old.

A key holds its stage's code, so any edit makes new artifacts; but most edits change no number, and
a board must not call every result old for them. So each kind has a version that its results carry,
raised where its output may be another; `bench/stages/versions.toml` says of which code that is.

    python -m bench.plan.code_versions                                      what changed since
    python -m bench.plan.code_versions --same-output "how that was seen"    the version stays
    python -m bench.plan.code_versions --new-version
        results of before become stale

The last two concern all kinds that changed, or those that are named behind.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from pydantic import Field

from bench.config.scoped_cache import once
from bench.config.toml import Card, check_card, read_toml
from bench.errors import BenchError, unknown
from bench.plan.code_hash import PACKAGE, module_hash

FILE = PACKAGE / "stages" / "versions.toml"
DIGITS = 16
HEAD = """\
# The version of each stage kind and the code it stands for; `same` lists code of before that gave
# equal output, and how that was seen. Written by `python -m bench.plan.code_versions`.
"""


class Same(Card):
    """Code that gave the same output as what came after it.

    Attributes:
        code: Its hash.
        reason: How that was seen.
    """

    code: str
    reason: str = Field(min_length=1)


class Version(Card):
    """A stage kind as it was last recorded.

    Attributes:
        version: Its version, from 1.
        code: Hash of its code; see `bench.plan.code_hash.module_hash`.
        same: Earlier code of this version, the oldest first.
    """

    version: int = Field(ge=1)
    code: str
    same: tuple[Same, ...] = ()


def kinds() -> list[str]:
    """Return the names of all stage kinds."""
    return sorted(path.stem for path in (PACKAGE / "stages").glob("[!_]*.py"))


def code_of(kind: str) -> str:
    """Return the hash of a kind's code, as it enters its keys, shortened."""
    return module_hash(f"bench.stages.{kind}")[:DIGITS]


@cache
def recorded() -> Mapping[str, Version]:
    """Return what is recorded of each kind."""
    return {
        kind: check_card(content, Version, f"{FILE}, {kind}")
        for kind, content in read_toml(FILE).items()
    }


@once
def version_of(kind: str) -> int | None:
    """Return the version of the code as it is; None where that code is not recorded."""
    known = recorded().get(kind)
    return known.version if known is not None and known.code == code_of(kind) else None


def changed(known: Mapping[str, Version]) -> list[str]:
    """Name the kinds whose code is not the recorded one, those that came and went among them."""
    here = kinds()
    return [kind for kind in here if kind not in known or known[kind].code != code_of(kind)] + [
        kind for kind in sorted(known) if kind not in here
    ]


def updated(
    known: Mapping[str, Version], named: Iterable[str], *, same_output: str = ""
) -> dict[str, Version]:
    """Record the code of kinds as it is.

    Args:
        known: What is recorded.
        named: Kinds whose code changed; one that came gets version 1, one that went is left out.
        same_output: How it was seen that the output is the same; without it versions are raised.
    """
    found, here = dict(known), kinds()
    for kind in named:
        old = found.pop(kind, None)
        if kind not in here:
            continue
        if old is None:
            found[kind] = Version(version=1, code=code_of(kind))
        elif same_output:
            same = (*old.same, Same(code=old.code, reason=same_output))
            found[kind] = Version(version=old.version, code=code_of(kind), same=same)
        else:
            found[kind] = Version(version=old.version + 1, code=code_of(kind))
    return dict(sorted(found.items()))


def spelled(known: Mapping[str, Version]) -> str:
    """Write versions as TOML."""
    parts = [HEAD]
    for kind, one in known.items():
        parts.append(f'\n[{kind}]\nversion = {one.version}\ncode = "{one.code}"\n')
        if one.same:
            lines = [
                f'  {{ code = "{same.code}", '
                f"reason = {json.dumps(same.reason, ensure_ascii=False)} }},\n"
                for same in one.same
            ]
            parts.append(f"same = [\n{''.join(lines)}]\n")
    return "".join(parts)


def main(words: Sequence[str] | None = None) -> int:
    """Show or record what changed; returns 1 where something is left to be recorded."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.plan.code_versions",
        description="Record the code of stage kinds that changed.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--same-output", metavar="REASON", help="versions stay: how that was seen")
    how.add_argument("--new-version", action="store_true", help="versions are raised by 1")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="all that changed by default")
    asked = parser.parse_args(words)
    known = recorded() if FILE.is_file() else {}
    left = changed(known)
    for kind in asked.kinds:
        if kind not in left:
            raise unknown("changed stage kind", kind, left)
    if asked.same_output is None and not asked.new_version:
        print("\n".join(left) or "The code of every stage kind is as recorded.")
        return 1 if left else 0
    if asked.same_output is not None and not asked.same_output.strip():
        raise BenchError("A reason is missing.", "Say how it was seen that the output is the same.")
    found = updated(known, asked.kinds or left, same_output=(asked.same_output or "").strip())
    FILE.write_text(spelled(found), encoding="utf-8")
    recorded.cache_clear()
    for kind in asked.kinds or left:
        print(f"{kind}: version {found[kind].version}" if kind in found else f"{kind}: gone")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"{error.message} {error.hint}")
