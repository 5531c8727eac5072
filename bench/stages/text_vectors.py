"""Encode what a language model wrote about users or items; the artifact is `vectors.npy`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.data import prepared_lists as data
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.encode.sentence_encoder import Encoder, Trigrams
from bench.models.rerank.long_text_windows import encode_long
from bench.models.rerank.prompts import user_text as text_of_user
from bench.models.rerank.qa_files import read_answers, read_prompts
from bench.models.rerank.vectors import FILE
from bench.stages.embed import planned_encoder

DECIMALS = 6


def run(
    job: Job,
    *,
    about: str,
    encoder: str,
    encoder_checksums: Mapping[str, str],
    user_text: str,
    long_text: str,
    lists: Path,
    prompts: Path,
    answers: Path,
) -> None:
    """Write vectors of users, shape (U, J, T), or of items, shape (I, T); 0 for those not asked.

    Args:
        job: Where to write.
        about: "users" or "items"; of an item the answer alone is read.
        encoder: The sentence encoder.
        encoder_checksums: What decides its vectors.
        user_text: "history+answer", or "answer" alone.
        long_text: "windows", or "truncate" to read the first window alone.
        lists: Whose users and items they are.
        prompts: The questions.
        answers: The answers to them.

    Raises:
        BenchError: Artifacts do not belong together, or items have several answers.
    """
    source, asked = data.shared(lists), read_prompts(prompts)
    answered = read_answers(answers, asked).texts
    num = len(answered[0]) if answered else 1
    if about == "items" and num > 1:
        raise BenchError(f"Items have {num} answers each.", "One answer describes an item.")
    texts = [
        text_of_user(prompt, text, user_text) if about == "users" else text
        for prompt, own in zip(asked.prompts, answered, strict=True)
        for text in own
    ]
    model = planned_encoder(job, encoder, encoder_checksums)
    assert isinstance(model, Encoder | Trigrams), "windows are cut by their own tokens"
    encoded = encode_long(model, texts, long_text=long_text)
    size = len(source.user_ids if about == "users" else source.item_ids)
    vectors_NJT = np.zeros((size, num, encoded.vectors.shape[1]), dtype=np.float32)
    vectors_NJT[asked.places] = encoded.vectors.reshape(len(asked), num, -1)
    np.save(job.out / FILE, vectors_NJT if about == "users" else vectors_NJT[:, 0])
    job.facts.update(
        {
            "texts": len(texts),
            "over_the_window": round(encoded.over / max(len(texts), 1), DECIMALS),
            "empty": encoded.empty,
            "empty_answers": sum(not text.strip() for own in answered for text in own),
            "user_text": user_text,
            "long_text": long_text,
        }
    )
