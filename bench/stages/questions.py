"""Write the questions about users or items that a language model answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.data import prepared_lists as list_files
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.tokenization import Prompt
from bench.models.rerank.prompts import (
    DOMAINS,
    UNKNOWN_TITLE,
    Domain,
    Profile,
    ask_about_item,
    ask_about_user,
    clean_title,
    move_article_to_front,
)
from bench.models.rerank.qa_files import Questions, save_questions
from bench.plan.knowledge_stages import QuestionsConfig

TITLES: Mapping[str, Callable[[str], str]] = {
    "keep": str,
    "fronted": move_article_to_front,
    "cleaned": clean_title,
}


def run(job: Job, config: QuestionsConfig, inputs: Mapping[str, Path]) -> None:
    """Write a question about each user, or each item, of the lists of some parts.

    A user's question contains the interactions before the lists, never an item of the lists.

    Raises:
        BenchError: A user has no interactions before the lists.
    """
    lists = list_files.load(inputs["lists"])
    rows = lists.rows(*config.parts)
    domain = DOMAINS[config.domain]
    titles = [TITLES[config.titles](title) or UNKNOWN_TITLE for title in lists.titles]
    if config.about == "users":
        indices = np.unique(lists.users[rows])
        prompts = [_ask_about_user(lists, user, domain, titles) for user in indices.tolist()]
    else:
        indices = np.unique(lists.items[rows])
        brands = lists.brands or [""] * len(titles)
        prompts = [
            ask_about_item(domain, titles[item], clean_title(brands[item])) for item in indices
        ]
    questions = Questions(indices=indices.astype(np.int64), prompts=tuple(prompts))
    save_questions(questions, job.out)
    job.metadata.update(
        questions=len(questions),
        distinct=len(set(questions.hashes)),
        unknown_titles=titles.count(UNKNOWN_TITLE),
    )


def _ask_about_user(
    lists: list_files.PreparedLists, user: int, domain: Domain, titles: Sequence[str]
) -> Prompt:
    items, ratings = lists.history(user)
    if not len(items):
        raise BenchError(
            f"User {lists.user_ids[user]!r} has no interactions before the lists.",
            "Raise the cap in [lists] of the data set's card.",
        )
    profile = None
    if lists.profiles:
        gender, age, occupation = lists.profiles[user]
        profile = Profile(gender=gender, age=age, occupation=occupation)
    return ask_about_user(domain, [titles[item] for item in items], ratings, profile)
