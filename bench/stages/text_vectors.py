"""Encode a language model's texts about users or items; the artifact is `vectors.npy`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.data import prepared_lists as list_files
from bench.errors import BenchError
from bench.hashing import Job
from bench.models.lm.encode.grounding import VECTORS_FILE
from bench.models.lm.encode.sentence_encoder import Encoder, Trigrams, encode_long_texts
from bench.models.rerank.prompts import write_user_text
from bench.models.rerank.qa_files import load_answers, load_questions
from bench.plan.knowledge_stages import TextVectorsConfig
from bench.stages.embed import load_planned_encoder

DECIMALS = 6


def run(job: Job, config: TextVectorsConfig, inputs: Mapping[str, Path]) -> None:
    """Write vectors of users, shape (U, J, T), or of items, shape (I, T); 0 without a question.

    Raises:
        BenchError: Answers do not belong to the questions, or items have several answers.
    """
    lists, questions = list_files.load(inputs["lists"]), load_questions(inputs["prompts"])
    answers = load_answers(inputs["answers"], questions).texts
    num_answers = len(answers[0]) if answers else 1
    if config.about == "items" and num_answers > 1:
        raise BenchError(f"Items have {num_answers} answers each.", "Generate one per item.")
    texts = [
        write_user_text(prompt, text, config.user_text)
        for prompt, own in zip(questions.prompts, answers, strict=True)
        for text in own
    ]
    model = load_planned_encoder(job, config.encoder, config.encoder_checksums)
    assert isinstance(model, Encoder | Trigrams), "windows need the encoder's tokens"
    encoded = encode_long_texts(model, texts, long_text=config.long_text)
    size = len(lists.user_ids if config.about == "users" else lists.item_ids)
    vectors_NJT = np.zeros((size, num_answers, encoded.vectors.shape[1]), dtype=np.float32)
    vectors_NJT[questions.indices] = encoded.vectors.reshape(len(questions), num_answers, -1)
    vectors = vectors_NJT if config.about == "users" else vectors_NJT[:, 0]
    np.save(job.out / VECTORS_FILE, vectors)
    job.metadata.update(
        texts=len(texts),
        fraction_longer_than_a_window=round(encoded.num_long / max(len(texts), 1), DECIMALS),
        empty=encoded.num_empty,
        empty_answers=sum(not text.strip() for own in answers for text in own),
        user_text=config.user_text,
        long_text=config.long_text,
    )
