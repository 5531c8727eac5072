from __future__ import annotations

import pytest

from bench.config.backbone_card import EncoderCard
from bench.data.assets import encoder_checksums
from bench.models.lm.encode.grounding import compute_distances
from bench.models.lm.encode.sentence_encoder import Trigrams, load_encoder


def test_a_misspelled_title_is_nearest_to_its_own() -> None:
    titles = ["Heat (1995)", "Casino (1995)", "Emma (1996)", "Babe (1995)"]
    encoder = load_encoder("trigrams", offline=True)
    near = compute_distances(encoder.encode(["Casinno (1995)", "emma"]), encoder.encode(titles))
    assert near.argmin(axis=1).tolist() == [1, 2]


def test_counts_add_up_and_letters_beyond_the_limit_do_not_count() -> None:
    encoder = Trigrams(max_length=4)
    vectors = encoder.encode(["abcd", "abcdef", "ABCD ", ""])
    assert vectors.sum(axis=1).tolist() == [5, 5, 5, 1]  # "  abcd " has five triples
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[0] == vectors[2]).all()


def test_its_key_needs_no_file_and_a_card_with_files_is_refused() -> None:
    assert set(encoder_checksums("trigrams")) == {"settings"}
    with pytest.raises(ValueError, match="neither files nor a config"):
        EncoderCard(
            title="t",
            description="d",
            license="l",
            homepage="",
            kind="trigrams",
            max_length=9,
            config={"num_hidden_layers": 1},
        )


def test_places_are_those_of_the_checksum_in_every_process() -> None:
    places = Trigrams(max_length=9).encode(["Heat"])[0].nonzero()[0]
    assert places.tolist() == [26, 58, 63, 138, 166]
