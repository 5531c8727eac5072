"""One fuzzing run over one reader: `python tests/fuzz_readers.py FORM CORPUS [libFuzzer options]`.

A coverage-guided fuzzer (atheris) changes one file of a good data set at a time; the first byte of
its input names the file. Whatever it writes there, the reader returns a sound result or raises
`BenchError`; anything else ends the run with an error. Not part of `damaged_files`, as atheris must
see the readers' imports to follow their branches, and ends the process that it runs in.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["bench.data"]):
    import test_readers
    import test_readers_amazon as amazon
    import test_readers_goodreads as goodreads
    import test_readers_movielens as movielens
    import test_readers_steam as steam
    import test_released_splits
    from damaged_files import check_sound

    from bench.data.prepare import prepare
    from bench.data.readers import read
    from bench.errors import BenchError


def encoded(contents: Mapping[str, Any]) -> dict[str, bytes]:
    return {
        role: content if isinstance(content, bytes) else json.dumps(content).encode()
        for role, content in contents.items()
    }


def pair(items: bytes, interactions: bytes) -> dict[str, bytes]:
    return {"items": items, "interactions": interactions}


# By form: the reader, its fields, and a good file for every role.
FORMS: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, bytes]]] = {
    "recbole": (
        "recbole",
        test_readers.FIELDS,
        pair(test_readers.ITEMS, test_readers.INTERACTIONS),
    ),
    "amazon-2014": ("amazon", {"release": "2014"}, pair(amazon.META_2014, amazon.REVIEWS)),
    "amazon-2018": ("amazon", {"release": "2018"}, pair(amazon.META_2018, amazon.REVIEWS)),
    "goodreads": (
        "goodreads",
        goodreads.READ,
        {**pair(goodreads.BOOKS, goodreads.SHELVES), "genres": goodreads.GENRES},
    ),
    "movielens-dat": (
        "movielens",
        movielens.UTF8,
        pair(movielens.MOVIES.encode(), movielens.RATINGS),
    ),
    "movielens-latin": (
        "movielens",
        movielens.LATIN,
        pair(movielens.MOVIES.encode("iso-8859-1"), movielens.RATINGS),
    ),
    "movielens-csv": (
        "movielens",
        movielens.CSV,
        pair(movielens.CSV_MOVIES.encode(), movielens.CSV_RATINGS),
    ),
    "steam-users": ("steam", steam.USERS, pair(steam.GAMES, steam.USER_REVIEWS)),
    "steam-flat": ("steam", steam.FLAT, pair(steam.GAMES, steam.STEAM_REVIEWS)),
    **{
        reader: (reader, {}, encoded(contents()))
        for reader, contents in test_released_splits.CONTENTS.items()
    },
}


def seeds(form: str) -> list[bytes]:
    """Return a good input for every role, where the fuzzer begins."""
    contents = FORMS[form][2]
    return [bytes([number]) + contents[role] for number, role in enumerate(contents)]


def target(form: str, folder: Path) -> Callable[[bytes], None]:
    reader, fields, good = FORMS[form]
    roles = list(good)

    def try_one(data: bytes) -> None:
        damaged_role = roles[data[0] % len(roles)] if data else roles[0]
        contents = {**good, damaged_role: data[1:]}
        paths = {role: folder / role for role in roles}
        for role, content in contents.items():
            paths[role].write_bytes(content)
        refused = None
        try:
            if reader in test_released_splits.RELEASED_SPLITS:
                test_released_splits.check_samples(
                    prepare(test_released_splits.card(reader), paths), reader
                )
            else:
                check_sound(read(reader, paths, fields))
        except BenchError as error:
            refused = error
        if refused is not None:
            assert refused.hint
            assert "\n" not in refused.message

    return try_one


def main() -> None:
    form, corpus, *options = sys.argv[1:]
    for number, content in enumerate(seeds(form)):
        Path(corpus, f"seed-{number}").write_bytes(content)
    with tempfile.TemporaryDirectory() as folder:
        atheris.Setup([sys.argv[0], corpus, *options], target(form, Path(folder)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
