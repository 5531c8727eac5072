"""Mean ranks across data sets, against scipy and Demšar's example."""

from __future__ import annotations

import pytest
from scipy import stats

from bench.errors import BenchError
from bench.stats.ranks import critical_difference, rank_across_datasets

# AUC of C4.5 and three variants on 14 data sets: Demšar, JMLR 2006, table 6.
C45 = ".763 .599 .954 .628 .882 .936 .661 .583 .775 1.0 .940 .619 .972 .957"
C45_M = ".768 .591 .971 .661 .888 .931 .668 .583 .838 1.0 .962 .666 .981 .978"
C45_CF = ".771 .590 .968 .654 .886 .916 .609 .563 .866 1.0 .965 .614 .9751 .946"
C45_M_CF = ".798 .569 .967 .657 .898 .931 .685 .625 .875 1.0 .962 .669 .975 .970"


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split()]


def table(**columns: list[float]) -> dict[str, dict[str, float]]:
    return {
        name: {f"d{place:02d}": value for place, value in enumerate(values)}
        for name, values in columns.items()
    }


def test_the_textbook_example() -> None:
    first, second, third, fourth = map(numbers, (C45, C45_M, C45_CF, C45_M_CF))
    result = rank_across_datasets("NDCG@5", table(a=first, m=second, cf=third, mcf=fourth))
    ranks = {one.name: one.mean_rank for one in result.methods}
    assert ranks == pytest.approx({"a": 3.143, "m": 2.000, "cf": 2.893, "mcf": 1.964}, abs=5e-4)
    assert result.friedman_p == pytest.approx(
        stats.friedmanchisquare(first, second, third, fourth).pvalue
    )
    assert result.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert result.methods[0].name == "mcf"
    assert result.reason == ""


def test_critical_difference_of_eight_methods_on_four_data_sets() -> None:
    assert critical_difference(8, 4) == pytest.approx(5.25, abs=5e-3)


def test_direction_and_wins_ties_losses() -> None:
    values = table(low=[0.1, 0.2, 0.3], high=[0.2, 0.2, 0.1])

    def counted(metric: str) -> dict[str, tuple[int, int, int]]:
        result = rank_across_datasets(metric, values).methods
        return {one.name: (one.wins, one.ties, one.losses) for one in result}

    lower, higher = counted("MGU@1"), counted("HR@1")
    assert lower == {"low": (1, 1, 1), "high": (1, 1, 1)}
    assert higher == lower
    assert rank_across_datasets("ORRatio@1", table(a=[0.1], b=[0.2])).methods[0].name == "a"
    assert rank_across_datasets("DivRatio@1", table(a=[0.1], b=[0.2])).methods[0].name == "b"


def test_few_data_sets_get_a_reason_and_no_test() -> None:
    columns = {f"m{number}": [0.1 * number] * 4 for number in range(8)}
    result = rank_across_datasets("HR@5", table(**columns))
    assert result.friedman_p is None
    assert result.critical_difference is None
    assert "5.25 of at most 7 ranks" in result.reason
    assert "not tested: 4 data sets are too few" in result.sentence


def test_data_sets_that_a_method_lacks_are_left_out() -> None:
    values = table(a=[0.1, 0.2, 0.3], b=[0.2, 0.3, 0.4])
    del values["b"]["d01"]
    assert rank_across_datasets("HR@5", values).num_datasets == 2


def test_identical_methods_are_not_told_apart() -> None:
    same = [0.1] * 6
    assert rank_across_datasets("HR@5", table(a=same, b=same, c=same)).friedman_p == 1.0


@pytest.mark.parametrize("values", [{}, {"a": {"d": 0.1}}, {"a": {"d": 0.1}, "b": {"e": 0.1}}])
def test_what_cannot_be_ranked_is_refused(values: dict[str, dict[str, float]]) -> None:
    with pytest.raises(BenchError, match="Nothing can be ranked by HR@5"):
        rank_across_datasets("HR@5", values)
