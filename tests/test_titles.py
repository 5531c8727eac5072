"""Title profiles: worked examples from the data notes, and what each pass leaves."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.config.cards import Titles
from bench.data.titles import (
    clean_d3_title,
    clean_title,
    is_d3_title,
    is_title,
    iterate_title_passes,
)

SPAN = '<span class="a-size-medium a-color-secondary"'
texts = st.text(st.sampled_from("ab \"'<>&;/=")).map(
    lambda text: text.replace("&a", "&amp;").replace("&b", "&quot;")
)


def passes(*titles: str, profile: str, num: int = 1) -> list[str]:
    """Return what each of the first passes makes of one item with these titles on its lines."""
    return [title for (title,) in itertools.islice(iterate_title_passes([titles], profile), num)]


# --- d3 -----------------------------------------------------------------------------------------


def test_d3_replaces_two_entities_and_strips_spaces_then_quotes() -> None:
    assert clean_d3_title(" &quot;Featuring &quot;Birds&quot;&quot; ") == 'Featuring "Birds'
    assert clean_d3_title("Rhythm, Blues, Soul &amp; Grooves") == "Rhythm, Blues, Soul & Grooves"
    assert (
        clean_d3_title("Honky Ch&acirc;teau &#8482;&nbsp;") == "Honky Ch&acirc;teau &#8482;&nbsp;"
    )
    assert clean_d3_title("&amp;quot;") == "&quot;"
    assert clean_d3_title('"\ta" ') == "\ta"


def test_d3_counts_words_between_single_spaces() -> None:
    assert is_d3_title(" ".join("w" * 20))
    assert not is_d3_title(" ".join("w" * 21))
    assert not is_d3_title(" " * 20)
    assert is_d3_title("4 " + " " * 18)
    assert is_d3_title("ab")
    assert not is_d3_title("a")
    assert not is_d3_title("")


def test_d3_removes_one_kind_of_markup_and_lets_the_others_through() -> None:
    assert passes('Guide <span id="x">', profile="d3") == [""]
    assert passes(SPAN, profile="d3") == [SPAN.strip('"')]


def test_d3_titles_are_mended_once_more_by_each_pass() -> None:
    """In place, so a second pass finds what the first one left, until nothing changes."""
    assert passes('" x "', profile="d3", num=3) == [" x ", "", ""]
    assert passes("&amp;quot;ab&amp;quot;", profile="d3", num=3) == ["&quot;ab&quot;", "ab", "ab"]
    long = f'" {" ".join("w" * 20)} "'
    assert passes(long, profile="d3", num=2) == ["", " ".join("w" * 20)]


@pytest.mark.parametrize("lines", [("Good", ""), ("", "Good"), ("Good", "<span id", "Good")])
def test_d3_one_bad_line_removes_an_item(lines: tuple[str, ...]) -> None:
    assert passes(*lines, profile="d3") == [""]


def test_of_several_good_lines_d3_takes_the_last_and_clean_the_first() -> None:
    assert passes("One", "Two", profile="d3") == ["Two"]
    assert passes(SPAN, "One", "Two", profile="clean") == ["One"]
    assert passes("One", "Two", profile="keep") == ["One"]


@given(st.lists(texts, min_size=1, max_size=3))
def test_every_d3_pass_begins_where_the_last_one_ended(lines: list[str]) -> None:
    current = list(lines)
    for (selected,) in itertools.islice(iterate_title_passes([lines], "d3"), 5):
        current = [clean_d3_title(title) for title in current]
        assert selected == (current[-1] if all(map(is_d3_title, current)) else "")


# --- clean --------------------------------------------------------------------------------------


def test_clean_undoes_all_entities_and_collapses_spaces() -> None:
    assert clean_title("99.9 F&deg;") == "99.9 F°"
    assert clean_title("AVVA&amp;#8482  makeup ") == "AVVA™ makeup"
    assert (
        clean_title("Halo\u00a0Wars\n Limited - (Collector&#39;s)")
        == "Halo Wars Limited - (Collector's)"
    )


@pytest.mark.parametrize(
    "title",
    [
        SPAN,
        "&lt;span id=x",
        ' Magazines" />',
        "Band,Audio Fidelity,Pop,24 Karat Gold Disc" + '" />',
        "A <b>bold</b> title",
        "<!-- none -->",
        "var aPageStart = (new Date()).getTime();",
        "(function(f) {var _np=(window.P._namespace('x'));",
        "P.when('A').execute(x)",
        "",
        "&nbsp;",
    ],
)
def test_clean_rejects_markup_script_and_nothing(title: str) -> None:
    assert passes(title, profile="clean") == [""]


@pytest.mark.parametrize(
    "title",
    [
        "I <3 You",
        "x < y > z",
        ">observer_",
        ">//:System.Hack",
        "Genius + Love = Yo La Tengo",
        "Norn9: Var Commons - PlayStation Vita",
        "while True: learn()",
        "Function (Live)",
        "Gorescript",
        "Shape {Special} Issue",
        "7",
        "Misérables, Les (1995)",
    ],
)
def test_clean_keeps_odd_but_real_titles(title: str) -> None:
    assert passes(title, profile="clean", num=2) == [title, title]


@given(texts)
def test_mended_titles_stay_as_they_are(title: str) -> None:
    assert clean_title(clean_title(title)) == clean_title(title)
    assert passes(title, profile="clean") == [
        clean_title(title) if is_title(clean_title(title)) else ""
    ]


# --- keep ---------------------------------------------------------------------------------------


@given(texts)
def test_keep_changes_nothing(title: str) -> None:
    assert Titles().profile == "keep"
    assert passes(title, profile="keep", num=2) == [title, title]
