"""The claims in the papers' printed numbers: all 79, each verdict and each count."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench

from bench.config import plugins
from bench.config.toml import check_card
from bench.errors import BenchError
from bench.report import published
from bench.report.claims.cards import PaperClaims, load_claims
from bench.report.claims.claim_types import Check, Rank, expand_braces
from bench.report.claims.published_values import (
    is_consistent,
    judge_published,
    judge_published_check,
)
from bench.report.claims.sweep_tests import rank_correlation
from bench.report.claims.verdict import (
    combine_published,
    combine_reproduced,
    count_required,
    judge_published_cells,
    judge_reproduced_cells,
)
from bench.report.published import Number, Place, Published

BOOKS = {name: load_claims(name) for name in ("sprec", "igd", "dpo4rec")}
CLAIMS = {(name, claim.id): claim for name, book in BOOKS.items() for claim in book.claims}
TABLES = published.load_published()


@pytest.mark.parametrize(("paper", "name"), CLAIMS)
def test_the_printed_verdict_and_every_count(paper: str, name: str) -> None:
    book = BOOKS[paper]
    claim = CLAIMS[paper, name]
    result = judge_published(claim, book, TABLES)
    assert result.verdict == claim.verdict
    for one in (*result.checks, *result.also):
        assert one.count == one.check.printed, one.check.about
        if one.check.printed:
            assert one.num_unreadable == one.check.unreadable, one.check.about
            if one.check.form in ("better", "not_better", "close"):
                assert one.num_ties == one.check.ties, one.check.about


@pytest.mark.parametrize(
    ("paper", "counts"),
    [
        ("sprec", {"yes": 14, "partly": 12, "no": 4, "figure": 7, "run": 3}),
        ("igd", {"yes": 8, "partly": 6, "no": 1, "figure": 1, "run": 4}),
        ("dpo4rec", {"yes": 5, "partly": 3, "no": 2, "figure": 8, "run": 1}),
    ],
)
def test_the_score_of_the_papers_own_numbers(paper: str, counts: dict[str, int]) -> None:
    book = BOOKS[paper]
    assert counts == Counter(judge_published(one, book, TABLES).verdict for one in book.claims)


def test_there_are_79_claims_with_an_id_each() -> None:
    names = [name for _, name in CLAIMS]
    assert len(names) == len(set(names)) == 79


def ranks(row: str, **names: Any) -> list[int]:
    book = BOOKS["sprec"]
    check = Rank(form="rank", row=row, among="LLM rows", at_most=7, **names)
    result = []
    for cell in book.expand_cells(check):
        values = [
            book.find_number(TABLES, one, cell.dataset, cell.metric).value for one in cell.rows
        ]
        sign = 1 if book.is_higher_better(cell.metric) else -1
        result.append(1 + sum(sign * value > sign * values[0] for value in values))
    return result


def test_ranks_that_the_claims_quote() -> None:
    measures = "{DivRatio,ORRatio}@{1,5}"
    assert ranks("RosePO", datasets="CDs_and_Vinyl", metrics=measures) == [2, 2, 3, 1]
    every = "{DivRatio,ORRatio,MGU}@{1,5}"
    assert ranks("RW", datasets="Steam", metrics=every) == [2, 2, 2, 3, 1, 1]
    assert ranks("RosePO", datasets="CDs_and_Vinyl", metrics="MGU@{1,5}") == [5, 6]
    assert ranks("SPRec", datasets="Goodreads", metrics="{HR,NDCG}@5") == [5, 5]


def tokens(dataset: str, metric: str) -> Number:
    return TABLES.numbers[Place(paper="IGD", table="4", dataset=dataset, metric=metric)]


def test_shares_of_zero_information_against_the_printed_counts() -> None:
    zero, every, off = 0.0, 0.0, []
    for dataset in BOOKS["igd"].datasets:
        num_zero = tokens(dataset, "n_zero_ig_tokens").value
        num = tokens(dataset, "n_tokens").value
        share = 100 * num_zero / num
        printed_share = tokens(dataset, "zero_ig_tokens_pct")
        if not is_consistent(printed_share, share, share):
            off.append((dataset, printed_share.value, round(share, 3)))
        zero, every = zero + num_zero, every + num
    assert round(100 * zero / every, 1) == 69.4
    assert off == [("CDs", 55.96, 55.965)]  # cut off rather than rounded


# --- forms on tiny tables -----------------------------------------------------------------------


def tiny(
    rows: dict[str, tuple[float | str, ...]], metric: str = "HR@5"
) -> tuple[PaperClaims, Published]:
    """One data set a value: rows a, b, … on the data sets x, y, …."""
    datasets = {name: name for name in "xyzuvw"[: max(len(one) for one in rows.values())]}
    claim = {
        "id": "S-01",
        "section": "1",
        "sentence": "One.",
        "boards": "a-board",
        "verdict": "run",
        "checks": [{"form": "proof", "tests": "nothing"}],
    }
    content = {
        "paper": "P",
        "title": "A paper",
        "datasets": datasets,
        "rows": {name: {"table": "1", "method": name} for name in rows},
        "claims": [claim],
    }
    numbers = {
        Place(paper="P", table="1", dataset=dataset, method=name, metric=metric): Number.read(
            str(value)
        )
        for name, values in rows.items()
        for dataset, value in zip(datasets, values, strict=False)
    }
    return check_card(content, PaperClaims, "tiny"), Published(numbers=numbers)


def check(form: str, book: PaperClaims, **fields: Any) -> Check:
    """Read a check as TOML would give it."""
    content = book.model_dump(mode="json")
    content["claims"][0]["checks"] = [{"form": form, "metrics": "HR@5", **fields}]
    return check_card(content, PaperClaims, "tiny").claims[0].checks[0]


def verdict(form: str, rows: dict[str, tuple[float | str, ...]], **fields: Any) -> tuple[str, str]:
    metric = fields.setdefault("metrics", "HR@5")
    book, numbers = tiny(rows, metric)
    result = judge_published_check(check(form, book, **fields), book, numbers)
    return str(result.verdict), result.count


@pytest.mark.parametrize(
    ("form", "fields", "holds", "fails"),
    [
        ("better", {"a": "a", "b": "b"}, {"a": (0.2,), "b": (0.1,)}, {"a": (0.1,), "b": (0.1,)}),
        (
            "better",
            {"a": "a", "b": "b", "metrics": "MGU@1"},
            {"a": (0.1,), "b": (0.2,)},
            {"a": (0.2,), "b": (0.1,)},
        ),
        ("not_better", {"a": "a", "b": "b"}, {"a": (0.1,), "b": (0.1,)}, {"a": (2,), "b": (1,)}),
        (
            "not_better",
            {"a": "a", "b": "b", "tau": 0.1},
            {"a": (0.11,), "b": (0.10,)},
            {"a": (0.12,), "b": (0.10,)},
        ),
        (
            "close",
            {"a": "a", "b": "b", "tau": 0.1},
            {"a": (0.09,), "b": (0.10,)},
            {"a": (0.08,), "b": (0.10,)},
        ),
        (
            "best",
            {"row": "a", "among": ["a", "b", "c"]},
            {"a": (0.2,), "b": (0.1,), "c": (0.2,)},
            {"a": (0.2,), "b": (0.1,), "c": (0.3,)},
        ),
        (
            "worst",
            {"row": "a", "among": ["a", "b", "c"]},
            {"a": (0.1,), "b": (0.1,), "c": (0.2,)},
            {"a": (0.2,), "b": (0.1,), "c": (0.3,)},
        ),
        (
            "rank",
            {"row": "a", "among": ["a", "b", "c"], "at_most": 2},
            {"a": (0.2,), "b": (0.1,), "c": (0.3,)},
            {"a": (0.1,), "b": (0.2,), "c": (0.3,)},
        ),
        (
            "rank",
            {"row": "a", "among": ["a", "b", "c"], "at_least": 2},
            {"a": (0.2,), "b": (0.1,), "c": (0.3,)},
            {"a": (0.3,), "b": (0.1,), "c": (0.2,)},
        ),
        ("value", {"row": "a", "value": 0.142}, {"a": ("0.1420",)}, {"a": ("0.1430",)}),
        ("value", {"row": "a", "value": 0.7, "within": 0.05}, {"a": (0.74,)}, {"a": (0.76,)}),
        ("value", {"row": "a", "at_least": 1.8, "at_most": 2.2}, {"a": (2,)}, {"a": (2.3,)}),
        ("value", {"row": "a", "above": 0.5}, {"a": (0.6,)}, {"a": (0.5,)}),
        (
            "gain",
            {"a": "a", "b": "b", "value": 4.34},
            {"a": ("0.0577",), "b": ("0.0553",)},
            {"a": ("0.0570",), "b": ("0.0553",)},
        ),
        (
            "gain",
            {"a": "a", "b": "b", "above": 0.0},
            {"a": (2,), "b": (1,)},
            {"a": (1,), "b": (1,)},
        ),
        (
            "gain",
            {"a": "a", "b": "b", "row": "c"},
            {"a": ("0.15",), "b": ("0.10",), "c": (50,)},
            {"a": ("0.15",), "b": ("0.10",), "c": (80,)},
        ),
        (
            "larger",
            {"a": "a", "b": "b", "c": "c", "d": "d"},
            {"a": (0.5,), "b": (0.2,), "c": (0.9,), "d": (0.8,)},
            {"a": (0.5,), "b": (0.4,), "c": (0.9,), "d": (0.6,)},
        ),
    ],
)
def test_each_form_in_both_directions(
    form: str, fields: dict[str, Any], holds: dict[str, Any], fails: dict[str, Any]
) -> None:
    assert verdict(form, holds, **fields) == ("yes", "1 of 1")
    assert verdict(form, fails, **fields) == ("no", "0 of 1")


def test_larger_compares_data_sets() -> None:
    rows = {"a": (0.5, 0.9), "b": (0.2, 0.8)}
    assert verdict("larger", rows, a="a", b="b", datasets="x", than_on="y")[0] == "yes"
    assert verdict("larger", rows, a="a", b="b", datasets="y", than_on="x")[0] == "no"


def test_relative_changes_need_not_agree_with_differences() -> None:
    rows = {"a": (0.2, 0.95), "b": (0.1, 0.8)}
    fields = {"a": "a", "b": "b", "datasets": "x", "than_on": "y"}
    assert verdict("larger", rows, **fields)[0] == "no"
    assert verdict("larger", rows, relative=True, **fields)[0] == "yes"


@pytest.mark.parametrize(
    ("quantifier", "hits", "expected"),
    [
        ("all", 4, "yes"),
        ("all", 2, "partly"),
        ("all", 1, "no"),
        ("most", 3, "yes"),
        ("most", 2, "partly"),
        ("any", 1, "yes"),
        ("any", 0, "no"),
        ("3 of 4", 3, "yes"),
        ("3 of 4", 1, "no"),
    ],
)
def test_quantifiers(quantifier: str, hits: int, expected: str) -> None:
    rows = {"a": tuple(2 if number < hits else 1 for number in range(4)), "b": (1, 1, 1, 1)}
    result = verdict("better", rows, a="a", b="b", quantifier=quantifier)
    assert result == (expected, f"{hits} of 4")


def test_n_of_n_scales_with_the_cells() -> None:
    assert [count_required("7 of 8", cells) for cells in (8, 10, 16, 1)] == [7, 9, 14, 1]


def test_rivals_count_as_one_cell() -> None:
    rows = {"a": (3, 3), "b": (1, 4), "c": (2, 4), "d": (4, 1)}
    fields = {"a": "a", "b": ["b", "c", "d"]}
    assert verdict("better", rows, **fields) == ("partly", "3 of 6")
    assert verdict("better", rows, rivals="most", **fields) == ("partly", "1 of 2")


def test_one_difference_refutes_what_is_claimed_as_a_whole() -> None:
    assert judge_published_cells(3, 4, "all", all_or_nothing=False) == "partly"
    assert judge_published_cells(3, 4, "all", all_or_nothing=True) == "no"


def test_cells_that_are_not_printed_are_no_failures() -> None:
    book, numbers = tiny({"a": (2, 2), "b": (1,)})
    result = judge_published_check(check("better", book, a="a", b="b"), book, numbers)
    assert (result.verdict, result.count, result.num_unreadable) == ("yes", "1 of 1", 1)


def test_flipping_two_rows_flips_the_printed_verdict() -> None:
    book = BOOKS["sprec"]
    swapped = {"SPRec": "BIGRec", "BIGRec": "SPRec"}
    numbers = {
        Place(
            paper=place.paper,
            table=place.table,
            dataset=place.dataset,
            method=swapped.get(place.method, place.method) if place.table == "1" else place.method,
            variant=place.variant,
            metric=place.metric,
        ): number
        for place, number in TABLES.numbers.items()
    }
    for name in ("S-09", "S-15a"):
        result = judge_published(CLAIMS["sprec", name], book, Published(numbers=numbers))
        assert result.verdict == "no"
        assert result.checks[0].num_holding == 0


def test_rank_correlation() -> None:
    assert rank_correlation([1, 2, 3], [0.1, 0.2, 0.9]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [0.9, 0.2, 0.1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3], [0.1, 0.1, 0.1]) == 0


def test_verdicts_join() -> None:
    assert combine_published(["yes", "yes"]) == "yes"
    assert combine_published(["yes", "no"]) == "partly"
    assert combine_reproduced(["holds", "fails", "not run"]) == "fails"
    assert combine_reproduced(["holds", "shown"]) == "holds"
    assert combine_reproduced(["shown"]) == "shown"
    assert judge_reproduced_cells(["holds", "not run"], "any") == "holds"
    assert judge_reproduced_cells(["fails", "not run"], "all") == "fails"
    assert judge_reproduced_cells(["holds", "not run"], "all") == "not run"
    assert judge_reproduced_cells(["holds", "undecided"], "all") == "undecided"


def test_braces_are_multiplied_out() -> None:
    assert expand_braces("{HR,NDCG}@{5,10} MGU@1") == [
        "HR@5",
        "HR@10",
        "NDCG@5",
        "NDCG@10",
        "MGU@1",
    ]


# --- mistakes in cards --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": "aa", "b": "b"}, "Did you mean 'a'? Add to [rows]: aa = {}"),
        ({"a": "Item+KNN", "b": "b"}, "There is no row named 'Item+KNN'"),
        ({"a": "Item+KNN", "b": "b"}, 'Add to [rows]: "Item+KNN" = {}'),
        ({"a": "a", "b": "b", "metrics": "HRR@5"}, "There is no metric named 'HRR@5'"),
        ({"a": "a", "b": "b", "metrics": "HR"}, "'HR' does not say how long the lists are"),
        ({"a": "a", "b": "b", "datasets": "q"}, "There is no data set named 'q'"),
        ({"a": "a", "b": "b", "quantifier": "some"}, "'some' is not a quantifier"),
        ({"a": "a", "b": "b", "quantifier": "9 of 8"}, "'9 of 8' is not a quantifier"),
        ({"a": "a", "b": "b", "tau": 0.1}, "unknown key"),
        ({"a": "a"}, "is missing"),
    ],
)
def test_a_mistake_in_a_card_is_one_sentence(fields: dict[str, Any], message: str) -> None:
    book, _ = tiny({"a": (1,), "b": (1,)})
    with pytest.raises(BenchError) as caught:
        check("better", book, **fields)
    assert message in caught.value.message
    assert caught.value.message.startswith("tiny: ")
    assert "'paper'" not in str(caught.value.hint)  # not the whole file


@pytest.mark.parametrize(
    ("form", "fields", "message"),
    [
        ("close", {"a": "a", "b": "b", "tau": float("nan")}, "finite number"),
        ("rank", {"row": "a", "among": ["a", "b"]}, "one of `at_most`, `at_least`"),
        ("value", {"row": "a"}, "either `value` or bounds"),
        ("gain", {"a": "a", "b": "b"}, "one of `value`, `row`, `above`"),
        ("larger", {"a": "a", "b": "b"}, "a second difference"),
        ("bestest", {"row": "a"}, "bestest"),
    ],
)
def test_a_form_says_what_it_needs(form: str, fields: dict[str, Any], message: str) -> None:
    book, _ = tiny({"a": (1,), "b": (1,)})
    with pytest.raises(BenchError, match=message):
        check(form, book, **fields)


def test_a_paper_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BenchError) as caught:
        load_claims("sprek")
    assert caught.value.hint == "Did you mean 'sprec'?"


@pytest.mark.parametrize(
    ("verdict", "printed", "message"),
    [("yes", "", "'yes' needs `printed`"), ("run", "1 of 1", "'run' allows no `printed`")],
)
def test_counts_must_fit_the_verdict(verdict: str, printed: str, message: str) -> None:
    book, _ = tiny({"a": (1,), "b": (1,)})
    content = book.model_dump(mode="json")
    content["claims"][0]["verdict"] = verdict
    content["claims"][0]["checks"][0]["printed"] = printed
    with pytest.raises(BenchError, match=f"S-01: the verdict {message}") as caught:
        check_card(content, PaperClaims, "tiny")
    assert caught.value.hint == "Correct the file."


def test_a_claim_said_to_need_a_run_must_not_be_printed() -> None:
    rows: dict[str, tuple[float | str, ...]] = {"a": (2,), "b": (1,)}
    book, numbers = tiny(rows)
    content = book.model_dump(mode="json")
    content["claims"][0]["checks"] = [{"form": "better", "a": "a", "b": "b", "metrics": "HR@5"}]
    book = check_card(content, PaperClaims, "tiny")
    with pytest.raises(BenchError, match="all its numbers are printed"):
        judge_published(book.claims[0], book, numbers)


def test_users_may_bring_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "leaderboards" / "claims"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        'paper = "Mine"\ntitle = "Mine"\n[datasets]\nx = "ml-100k"\n[rows]\na = {}\n[[claims]]\n'
        'id = "S-01"\nsection = "1"\nsentence = "A."\nboards = "quick"\nverdict = "run"\n'
        'checks = [{ form = "proof", tests = "a test" }]\n'
    )
    monkeypatch.setenv("BENCH_PATH", str(tmp_path))
    assert load_claims("mine").claims[0].sentence == "A."


def test_bench_check_compares_a_claim_file_with_the_printed_numbers(
    bench: Bench, tmp_path: Path
) -> None:
    text = plugins.board_files("claims")["sprec"].read_text(encoding="utf-8")
    for old, new, code, sentence in (
        ("", "", 0, "ok    verdicts"),
        ('printed = "8 of 16"', 'printed = "9 of 16"', 1, "S-03: 8 of 16 is printed, not 9 of 16"),
        ('verdict = "partly"', 'verdict = "yes"', 1, "the printed numbers say 'partly'"),
    ):
        (tmp_path / "mine.toml").write_text(text.replace(old, new, 1) if old else text)
        checked = bench("check", "mine.toml")
        assert (checked.code, sentence in checked.out) == (code, True), checked.out
