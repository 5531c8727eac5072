"""The data page: what it says, what it must not say, and the same bytes every time."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from bench.cli import data
from bench.config.cards import DatasetCard
from bench.data.catalog import Catalog
from bench.data.prepared import Prepared
from bench.report.data_pages import charts
from bench.report.data_pages.page import (
    data_html,
    data_markdown,
    describe_block,
    format_density,
    format_quantile,
    render_data,
)

CARD = DatasetCard(
    title="Own <script>alert(1)</script> & set",
    description="For | tests.",
    license="Ours.",
    citation="Nobody.",
    homepage="https://example.org/",
    reader="synthetic",
)


@pytest.fixture
def small() -> Prepared:
    """Two users: u sees a b a c, v sees b c; item d is never seen; 2 train, 1 valid, 1 test."""
    return Prepared(
        catalog=Catalog(
            ids=("A", "B", "C", "D"),
            titles=("Secretone", "Secrettwo", "Secretthree in words", "Secrettwo"),
            categories=(("x",), ("x", "<y>"), ("<y>",), ()),
            tracked=("x", "<y>"),
        ),
        user_ids=("user-u", "user-v"),
        users=np.array([0, 0, 0, 0, 1, 1], dtype=np.int32),
        items=np.array([0, 1, 0, 2, 1, 2], dtype=np.int32),
        ratings=np.array([5, 4, 3, 2, 1, np.nan], dtype=np.float32),
        times=np.array([10, 20, 30, 50, 15, 40], dtype=np.int64),
        start=np.array([0, 0, 4, 0], dtype=np.int64),
        target=np.array([1, 2, 5, 3], dtype=np.int64),
        boundaries=(2, 3),
        history=3,
        counts={"users": 2, "items": 4, "interactions": 6},
        notes=("A <note>.",),
    )


def test_a_page_says_what_was_counted_and_checked(small: Prepared) -> None:
    html = data_html([describe_block("own", CARD, small)])
    assert "the papers count different things" in html.lower()
    for text in ("Ours.", "Nobody.", "75.0 %", "users with a sample", "windows, valid"):
        assert text in html
    assert '<b class="verdict ok">ok</b>' in html
    assert '<b class="verdict note">note</b>' in html
    assert html.count("<svg") == 4
    assert "1 item without any is omitted." in html


def test_a_failing_check_is_a_word(small: Prepared) -> None:
    bad = replace(small, target=np.array([1, 2, 5, 5]), start=np.array([0, 0, 4, 4]))
    found = describe_block("own", CARD, bad)
    assert found.checks.endswith("1 fails")
    assert '<b class="verdict fails">fails</b>' in data_html([found])
    assert "**fails**" in data_markdown([found])


def test_no_title_no_id_no_history_stands_on_the_page(small: Prepared) -> None:
    blocks = [describe_block("own", CARD, small)]
    for text in (data_html(blocks), data_markdown(blocks)):
        assert "Secret" not in text
        assert "user-" not in text


def test_foreign_text_is_escaped(small: Prepared) -> None:
    blocks = [describe_block("own", CARD, small)] * 2
    html, markdown = data_html(blocks), data_markdown(blocks)
    assert html.count("<script>") == 1, "our own"
    assert "<script>" not in markdown
    assert "<y>" not in html
    assert "&lt;y&gt;" in html
    assert "A &lt;note&gt;." in html
    assert r"For \| tests." in markdown


def test_the_page_loads_nothing(small: Prepared) -> None:
    html = data_html([describe_block("own", CARD, small)])
    assert "default-src 'none'" in html
    assert not re.search(r"\ssrc\s*=|@import|url\(|<link|<iframe|<object|xmlns|style=", html)
    assert {link for link in re.findall(r'href="([^"]*)"', html) if "://" in link} == {
        "https://example.org/"
    }


def test_two_renders_are_byte_equal(small: Prepared, tmp_path) -> None:
    contents = []
    for folder in ("one", "two"):
        written = render_data([("own", CARD, small), ("again", CARD, small)], tmp_path / folder)
        assert [path.name for path in written] == ["README.md", "index.html"]
        assert {path.parent for path in written} == {tmp_path / folder / "datasets"}
        contents.append([path.read_bytes() for path in written])
    assert contents[0] == contents[1]


def test_several_sets_stand_side_by_side(small: Prepared) -> None:
    one = describe_block("own", CARD, small)
    assert "All data sets" not in data_html([one])
    assert "All data sets" in data_html([one, one])
    assert len(set(re.findall(r'id="([^"]*)"', data_html([one, one])))) == 5


def test_a_set_without_categories_says_so(small: Prepared) -> None:
    bare = replace(small, catalog=replace(small.catalog, tracked=()))
    html = data_html([describe_block("own", CARD, bare)])
    assert "No category is tracked." in html
    assert html.count("<svg") == 3


def test_bins_of_lengths_cover_all_values_once() -> None:
    bins = charts.ratio_bins(np.array([1, 1, 2, 4, 9, 12, 20, 737]))
    assert [(one.start, one.num) for one in bins if one.num] == [
        ("1", 2), ("2", 1), ("3", 1), ("7", 1), ("10", 1), ("20", 1), ("700", 1),
    ]  # fmt: skip
    assert bins[0].label == "1"
    assert bins[-1].label == "700 to 999"
    assert charts.ratio_bins(np.array([30, 30]))[0].label == "30 to 49"
    assert charts.ratio_bins(np.array([1000]))[0].num == 1
    assert charts.ratio_bins(np.array([], dtype=np.int64)) == []


def test_bins_of_words_gather_the_tail() -> None:
    bins = charts.word_bins(np.array([0, 2, 24, 25, 300]))
    assert (bins[0].label, bins[0].num) == ("0", 1)
    assert (bins[-1].label, bins[-1].num) == ("24 or more", 3)
    assert sum(one.num for one in bins) == 5


def test_bars_stand_on_the_axis_and_are_as_high_as_their_shares() -> None:
    svg = charts.histogram(
        [charts.Bin(start=f"{n}", label=f"{n}", num=num) for n, num in ((1, 3), (2, 1))],
        "users",
        "interactions per user",
    )
    assert svg is not None
    found = re.findall(r'class="column".*? y="([\d.]+)".*? height="([\d.]+)"', svg)
    ends = {round(float(y) + float(height), 1) for y, height in found}
    assert ends == {float(charts.BOTTOM)}
    assert float(found[0][1]) == pytest.approx(3 * float(found[1][1]), abs=0.3)
    assert "1: 3 users, 75.0 %" in svg


@pytest.mark.parametrize("popularity", [[1], [5, 5], [0, 1, 10], [10**6, 1, 1, 1]])
def test_the_curve_stays_inside_its_frame_and_falls(popularity: list[int]) -> None:
    svg = charts.rank_curve(np.array(popularity))
    assert svg is not None
    line = re.search(r'class="curve" points="([^"]*)"', svg)
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in line[1].split()]
    assert len(points) <= len([num for num in popularity if num])
    for x, y in points:
        assert charts.LEFT <= x <= charts.RIGHT
        assert charts.TOP <= y <= charts.BOTTOM
    assert points == sorted(points)


def test_nothing_to_draw_is_no_picture() -> None:
    assert charts.rank_curve(np.array([0, 0])) is None
    assert charts.histogram([], "users", "x") is None
    assert charts.share_bars({}) is None


def test_numbers_in_words() -> None:
    assert [format_density(value) for value in (0.0630466, 0.000512, 1.0)] == [
        "6.30 %",
        "0.0512 %",
        "100 %",
    ]
    assert [format_quantile(value) for value in (3.0, 2.25, 1234.0)] == ["3", "2.2", "1,234"]
    assert [charts.short_number(10**power) for power in (0, 2, 3, 5, 6, 9)] == [
        "1", "100", "1k", "100k", "1M", "1G",
    ]  # fmt: skip


def test_the_command_renders_each_set_once(tmp_path, capsys) -> None:
    data.page(
        names=["synthetic", "synthetic"],
        store=tmp_path / "store",
        data_dir=None,
        files=None,
        offline=True,
        out=tmp_path / "pages",
    )
    paths = capsys.readouterr().out.split()
    assert paths == [
        str(tmp_path / "pages/datasets" / name) for name in ("README.md", "index.html")
    ]
    html = (tmp_path / "pages/datasets/index.html").read_text(encoding="utf-8")
    assert html.count("<h2") == 1
    assert "2,400" in html
