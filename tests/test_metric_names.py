"""The frozen names of the metrics: reading, writing and refusing them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.metrics.names import FAMILIES, WITHOUT_K, Metric, parse


def test_names_are_frozen() -> None:
    assert [
        Metric(
            family=family,
            k=None if family in WITHOUT_K else 5,
            category="drama" if family == "GU" else None,
        ).name
        for family in FAMILIES
    ] == [
        "HR@5",
        "NDCG@5",
        "DivRatio@5",
        "ORRatio@5",
        "MGU@5",
        "DGU@5",
        "GU[drama]@5",
        "Coverage@5",
        "Gini@5",
        "Hallucination",
        "MAP@5",
        "MAPstd@5",
        "CLICK@5",
        "ListCap",
    ]


def test_directions_and_kinds() -> None:
    upwards = {"HR", "NDCG", "DivRatio", "Coverage"}
    for name in ("HR@1", "NDCG@1", "DivRatio@1", "ORRatio@1", "MGU@1", "DGU@1", "GU[drama]@1"):
        assert parse(name).higher_is_better == (parse(name).family in upwards)
        assert parse(name).per_case == (name in ("HR@1", "NDCG@1"))
    assert parse("Coverage@1").higher_is_better
    assert not parse("Gini@1").higher_is_better
    assert not parse("Hallucination").higher_is_better
    assert parse("Hallucination").per_case
    for name in ("MAP@5", "MAPstd@5", "CLICK@5", "ListCap"):
        assert parse(name).higher_is_better
        assert parse(name).per_case


@given(st.integers(1, 10**6), st.text(min_size=1))
def test_parse_reads_every_name(k: int, category: str) -> None:
    for metric in (
        Metric(family="ORRatio", k=k),
        Metric(family="GU", k=k, category=category),
        Metric(family="Hallucination"),
    ):
        assert parse(metric.name) == metric


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("NDGC@5", "There is no metric named 'NDGC@5'.", "Did you mean 'NDCG@5'?"),
        ("ndcg@10", "There is no metric named 'ndcg@10'.", "Known: NDCG@10."),
        ("Halucination", "There is no metric named", "Did you mean 'Hallucination'?"),
        ("", "There is no metric named ''.", "Known: "),
        ("HR", "'HR' does not say how long the lists are.", "Add a k, e.g. HR@5."),
        ("HR@0", "The k of 'HR@0' is not a whole number from 1.", "Write it in digits"),
        ("HR@05", "The k of 'HR@05' is not a whole number", "Write it in digits"),
        ("HR@-1", "The k of 'HR@-1' is not a whole number", "Write it in digits"),
        ("HR@٥", "The k of 'HR@٥' is not a whole number", "Write it in digits"),
        ("Hallucination@5", "Hallucination looks at the first recommendation only", "Write Hall"),
        ("ListCap@5", "ListCap counts lists that have a positive", "Write ListCap."),
        ("GU@5", "'GU@5' names no category.", "Write the category in brackets, e.g. GU[drama]@5."),
        ("GU[]@5", "'GU[]@5' names no category.", "Write the category"),
        ("HR[drama]@5", "HR covers all categories and takes none in brackets", "Only GU"),
    ],
)
def test_parse_refuses(name: str, sentence: str, hint: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse(name)
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint.startswith(hint)


def test_a_metric_checks_itself() -> None:
    with pytest.raises(BenchError, match="whole number"):
        Metric(family="HR", k=0)


def test_names_need_no_numpy() -> None:
    program = "import sys, bench.metrics.names; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
