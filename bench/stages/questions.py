"""Write the questions about users or items that a language model is to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.data import prepared_lists as data
from bench.errors import BenchError, unknown
from bench.hashing import Job
from bench.models.lm.chat_prompts import Prompt
from bench.models.rerank.prompts import Domain, Profile, domain, item_prompt, user_prompt
from bench.models.rerank.qa_files import Asked, write_prompts
from bench.models.rerank.titles import UNKNOWN_TITLE, cleaned, fronted

ABOUT = ("users", "items")
TITLES: dict[str, Callable[[str], str]] = {"keep": str, "fronted": fronted, "cleaned": cleaned}


def run(
    job: Job, *, about: str, parts: Sequence[str], domain_name: str, titles: str, lists: Path
) -> None:
    """Write a question for each user, or each item, of the lists of some parts.

    A user's question holds what lies before the lists, never an item of them.

    Args:
        job: Where to write.
        about: "users" or "items".
        parts: Whose lists count.
        domain_name: "movie", "book" or "product".
        titles: How titles are written: "keep", "fronted" or "cleaned".
        lists: The lists.

    Raises:
        BenchError: An argument is unknown, or a user's history cannot be described.
    """
    for what, value, known in (("subject", about, ABOUT), ("way with titles", titles, TITLES)):
        if value not in known:
            raise unknown(what, value, known)
    source = data.shared(lists)
    rows = source.rows(*parts)
    written = [TITLES[titles](title) or UNKNOWN_TITLE for title in source.titles]
    if about == "users":
        places = np.unique(source.users[rows])
        found = [_of_user(source, int(user), domain(domain_name), written) for user in places]
    else:
        places = np.unique(source.items[rows]).astype(np.int64)
        brands = source.brands or [""] * len(written)
        named = [(written[item], cleaned(brands[item])) for item in places]
        found = [item_prompt(domain(domain_name), title, brand) for title, brand in named]
    write_prompts(Asked(places=places.astype(np.int64), prompts=tuple(found)), job.out)
    job.facts.update(
        {
            "questions": len(found),
            "distinct": len({prompt.hash for prompt in found}),
            "unknown_titles": sum(title == UNKNOWN_TITLE for title in written),
        }
    )


def _of_user(source: data.Lists, user: int, about: Domain, titles: Sequence[str]) -> Prompt:
    items, ratings = source.history(user)
    if not len(items):
        raise BenchError(
            f"User {source.user_ids[user]!r} has lists, and nothing before them.",
            "Raise the cap in [lists] of the data set's card.",
        )
    profile = None
    if source.profiles:
        gender, age, occupation = source.profiles[user]
        profile = Profile(gender=gender, age=age, occupation=occupation)
    return user_prompt(about, [titles[item] for item in items], ratings, profile)
