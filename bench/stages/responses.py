"""Take answers that a model elsewhere wrote, from a file or an endpoint; `answers.parquet`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.data import prepared_lists as data
from bench.errors import BenchError
from bench.hashing import Job, checksum
from bench.models.lm.chat_prompts import Prompt
from bench.models.rerank.endpoint import Endpoint, NoReplyError, endpoint, limit
from bench.models.rerank.qa_files import Answered, read_prompts, write_answers
from bench.models.rerank.recorded_answers import (
    Line,
    append,
    default_file,
    find,
    line_of,
    responses_file,
)

LEAST = 0.995
AT_ONCE = 8
GIVE_UP_AFTER = 20


def run(
    job: Job,
    *,
    about: str,
    dataset: str,
    writer: str,
    decoding: Mapping[str, Any],
    file: str | None,
    lists: Path,
    prompts: Path,
) -> None:
    """Write the answers; questions that have none get an empty one.

    Args:
        job: Where to write.
        about: "users" or "items".
        dataset: Name of the data set's card, under which answers are kept.
        writer: The model that answers.
        decoding: Further fields of a request.
        file: The sha256 of the file of answers; None where an endpoint adds to it.
        lists: Whose users and items they are.
        prompts: The questions.

    Raises:
        BenchError: Too many questions have no answer, or the file is not what was planned with.
    """
    source, asked = data.shared(lists), read_prompts(prompts)
    ids = source.user_ids if about == "users" else source.item_ids
    named = [ids[place] for place in asked.places]
    by_id = dict(zip(named, asked.prompts, strict=True))
    path = responses_file() or default_file()
    if file is not None and (not path.is_file() or checksum(path) != file):
        raise BenchError(f"{path} changed during the run.", "Start the run again.")
    about_one = {"dataset": dataset, "kind": about.removesuffix("s")}
    found = find(path, by_id, model=writer, **about_one)
    lacking = {name: prompt for name, prompt in by_id.items() if name not in found.lines}
    failures: dict[str, int] = {}
    server = endpoint()
    if file is None and server is not None and lacking:
        limit(len(lacking))
        print(f"Asking {writer} {len(lacking)} questions about {about}.", file=sys.stderr)
        failures = _ask(server, lacking, path, writer, dict(decoding), about_one)
        found = find(path, by_id, model=writer, **about_one)
    share = len(found.lines) / max(len(by_id), 1)
    job.facts.update(
        {
            "questions": len(by_id),
            "answered": len(found.lines),
            "models": sorted({line.model for line in found.lines.values()}),
            **found.counts,
            **{f"failed: {reason}": num for reason, num in failures.items()},
        }
    )
    if share < LEAST:
        raise BenchError(
            f"partial ({100 * share:.1f} %): {len(found.lines)} of {len(by_id)} questions about "
            f"{about} have an answer by {writer}; {_said({**found.counts, **failures})}.",
            "The same command asks for the rest.",
        )
    lines = [found.lines.get(name) for name in named]
    write_answers(
        asked,
        Answered(
            texts=tuple((line.text if line else "",) for line in lines),
            finished=tuple((_finished(line),) for line in lines),
        ),
        job.out,
    )


def _ask(
    server: Endpoint,
    lacking: Mapping[str, Prompt],
    path: Path,
    writer: str,
    decoding: dict[str, Any],
    about_one: dict[str, str],
) -> dict[str, int]:
    """Ask, several at once, and add each answer to the file; failures by reason.

    After many failures in a row the rest is left for another time.
    """
    failures: dict[str, int] = {}
    in_a_row = 0

    def one(name: str) -> str:
        nonlocal in_a_row
        if in_a_row >= GIVE_UP_AFTER:
            return "not asked any more"
        try:
            reply = server.ask(lacking[name].text, model=writer, decoding=decoding)
        except NoReplyError as error:
            in_a_row += 1
            return str(error)
        in_a_row = 0
        append(line_of(reply, lacking[name], id_=name, decoding=decoding, **about_one), path)
        return ""

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for reason in pool.map(one, lacking):
            if reason:
                failures[reason] = failures.get(reason, 0) + 1
    return failures


def _finished(line: Line | None) -> bool:
    return line is not None and line.finish_reason == "stop"


def _said(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {num}" for reason, num in counts.items() if num) or "no reason"
