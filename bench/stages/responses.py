"""Collect answers of an external model, from a file or an endpoint; `answers.parquet`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.data import prepared_lists as list_files
from bench.errors import BenchError
from bench.hashing import Job, checksum
from bench.models.lm.tokenization import Prompt
from bench.models.rerank.external_answers import (
    Endpoint,
    NoReplyError,
    check_request_limit,
    find_answers,
    find_endpoint,
    record_reply,
    responses_file,
)
from bench.models.rerank.qa_files import Answers, load_questions, save_answers
from bench.plan.knowledge_stages import ExternalAnswersConfig

MIN_ANSWERED = 0.995
NUM_CONNECTIONS = 8
MAX_FAILURES_IN_A_ROW = 20


def run(job: Job, config: ExternalAnswersConfig, inputs: Mapping[str, Path]) -> None:
    """Write the answers; questions without one get an empty answer.

    Raises:
        BenchError: Too many questions have no answer, or the file changed after planning.
    """
    lists, questions = list_files.load(inputs["lists"]), load_questions(inputs["prompts"])
    all_ids = lists.user_ids if config.about == "users" else lists.item_ids
    ids = [all_ids[index] for index in questions.indices]
    prompts = dict(zip(ids, questions.prompts, strict=True))
    path, planned = responses_file(), config.file_checksum
    if planned is not None and (not path.is_file() or checksum(path) != planned):
        raise BenchError(f"{path} changed during the run.", "Run again.")
    subject = {"dataset": config.dataset, "kind": config.about.removesuffix("s")}
    matches = find_answers(path, prompts, model=config.writer, **subject)
    missing = {name: prompt for name, prompt in prompts.items() if name not in matches.answers}
    failures: Counter[str] = Counter()
    endpoint = find_endpoint() if planned is None else None
    if endpoint is not None and missing:
        check_request_limit(len(missing))
        print(
            f"Asking {config.writer} {len(missing)} questions about {config.about}.",
            file=sys.stderr,
        )
        failures = _ask_endpoint(endpoint, missing, path, config, subject)
        matches = find_answers(path, prompts, model=config.writer, **subject)
    answers = matches.answers
    job.metadata.update(
        {
            "questions": len(prompts),
            "answered": len(answers),
            "models": sorted({answer.model for answer in answers.values()}),
            **matches.rejected,
            **{f"failed: {reason}": num for reason, num in failures.items()},
        }
    )
    fraction = len(answers) / max(len(prompts), 1)
    if fraction < MIN_ANSWERED:
        reasons = {**matches.rejected, **failures}
        details = ", ".join(f"{reason}: {num}" for reason, num in reasons.items() if num)
        raise BenchError(
            f"partial ({100 * fraction:.1f} %): {len(answers)} of {len(prompts)} questions about "
            f"{config.about} have an answer by {config.writer} ({details or 'no failures'}).",
            "Run again to ask the remaining questions.",
        )
    by_question = [answers.get(name) for name in ids]
    save_answers(
        questions,
        Answers(
            texts=tuple((answer.text if answer else "",) for answer in by_question),
            finished=tuple(
                (answer is not None and answer.finish_reason == "stop",) for answer in by_question
            ),
        ),
        job.out,
    )


def _ask_endpoint(
    endpoint: Endpoint,
    prompts: Mapping[str, Prompt],
    path: Path,
    config: ExternalAnswersConfig,
    subject: Mapping[str, str],
) -> Counter[str]:
    """Ask several questions at a time and record each answer; return failures by reason.

    After many failures in a row the remaining questions are not asked.
    """
    decoding: dict[str, Any] = {
        "max_tokens": config.max_new_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
    }
    failures_in_a_row = 0

    def ask(name: str) -> str:
        nonlocal failures_in_a_row
        if failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            return "not asked"
        try:
            reply = endpoint.ask(prompts[name].text, model=config.writer, decoding=decoding)
        except NoReplyError as error:
            failures_in_a_row += 1
            return str(error)
        failures_in_a_row = 0
        record_reply(reply, prompts[name], path, subject_id=name, decoding=decoding, **subject)
        return ""

    with ThreadPoolExecutor(NUM_CONNECTIONS) as pool:
        return Counter(reason for reason in pool.map(ask, prompts) if reason)
