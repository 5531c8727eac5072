"""A board's page in a real browser, opened from file:// with the network blocked.

Needs the extra `browser` (playwright, axe-playwright-python) and Chromium, found at
`$BENCH_CHROMIUM`, on the PATH, or where playwright keeps its own; skipped otherwise.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_results import Line, assemble_from, make

from bench.report.examples import Example
from bench.report.render import pages
from bench.report.table import BoardTable
from bench.results.load import load_results
from bench.results.schema import StageRecord, find_result, write_result

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra 'browser'")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="needs the extra 'browser'"
)

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    named = os.environ.get("BENCH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with playwright.sync_playwright() as started:
        try:
            opened = started.chromium.launch(
                executable_path=named, args=["--no-sandbox", "--disable-gpu"]
            )
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[BoardTable, Path]:
    folder = tmp_path_factory.mktemp("board")
    lines = [
        Line("Base", 0.05),
        Line("Oracle", 1.0, ranked=False, method="random"),
        Line("Good", 0.6),
        Line("Better, <i>&</i> 🎬", 0.8, reasons={1: 'died: <script>alert("x")</script>'}),
        Line("Broken", reasons=dict.fromkeys(range(3), "CUDA out of memory")),
        Line("Later", unrun=range(3)),
    ]
    planned = make(folder, lines, datasets=("synthetic", "ml-100k"))
    old = next(trial for row, trial in planned[1] if row.name == "Good")
    grown_old(folder, old.id)
    table = assemble_from(*planned, folder)
    pages.render(table, folder / "pages", load_results(folder), {old.id: (EXAMPLE,)})
    return table, folder / "pages" / table.name


EXAMPLE = Example(
    case="41", history=("One", "Two"), generated="<b>Thre", top_item="Three", target="Four", rank=2
)


def grown_old(folder: Path, trial: str) -> None:
    """Let a result stand on a version of its stage that is not today's."""
    stage = StageRecord(
        key="k", kind="sft", seconds=1, peak_memory_mib=1, shared=False, version=999
    )
    result = find_result(folder, trial)
    write_result(result.model_copy(update={"stages": [stage]}), folder)


@pytest.fixture
def page(browser: Any, board: tuple[BoardTable, Path]) -> Iterator[Any]:
    """The page in a window of its own; anything it fetches or throws fails the test."""
    yield from opened(browser, board[1])


def opened(browser: Any, folder: Path, **looks: Any) -> Iterator[Any]:
    context = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **looks})
    context.set_default_timeout(60_000)
    asked, wrong = [], []
    context.route("http*://**", lambda route: (asked.append(route.request.url), route.abort()))
    shown = context.new_page()
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    shown.goto((folder / "index.html").as_uri())
    yield shown
    context.close()
    assert (asked, wrong) == ([], [])


def rows(page: Any, table: int = 1) -> list[str]:
    return page.locator(f"#table-{table} tbody tr:visible .who").all_inner_texts()


def heads(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("#table-1 thead .sort:visible").all_inner_texts()]


def exported(page: Any) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.locator("#export").click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))


def header(page: Any, metric: str, table: int = 1) -> Any:
    return page.locator(f'#table-{table} th:has(button[data-by="{metric}"])')


def test_columns_are_sorted_by_keyboard_best_first_then_worst_then_as_before(page):
    as_before = rows(page)
    button = header(page, "ORRatio@1").locator("button")
    button.focus()
    page.keyboard.press("Enter")
    values = page.locator("#table-1 tbody tr:visible td:nth-child(4) .v").all_inner_texts()
    numbers = [float(re.match(r"[\d.]+", text)[0]) for text in values]
    assert numbers == sorted(numbers), "lower is better"
    assert header(page, "ORRatio@1").get_attribute("aria-sort") == "ascending"
    assert rows(page)[-2:] == ["Broken", "Later"], "what has no value comes last"
    page.keyboard.press("Space")
    assert header(page, "ORRatio@1").get_attribute("aria-sort") == "descending"
    assert rows(page)[-2:] == ["Broken", "Later"]
    assert rows(page, 2) == as_before, "each data set has its own order"
    page.keyboard.press("Enter")
    assert rows(page) == as_before
    assert header(page, "ORRatio@1").get_attribute("aria-sort") == "none"


def test_columns_are_sorted_by_mouse_and_rows_by_name(page):
    header(page, "NDCG@5").locator("button").click()
    assert rows(page)[:2] == ["Oracle", "Better, <i>&</i> 🎬"]
    header(page, "row").locator("button").click()
    assert rows(page) == sorted(rows(page), key=str.casefold)


def test_rows_and_data_sets_are_filtered(page):
    page.fill("#find", "BET")
    assert rows(page) == ["Better, <i>&</i> 🎬"]
    assert page.inner_text("#count") == "2 of 12 rows, 6 of 6 columns"
    page.fill("#find", "")
    page.select_option("#family", "random")
    assert rows(page) == ["Oracle"]
    page.select_option("#family", "")
    page.select_option("#status", "gaps")
    assert rows(page) == ["Broken", "Later"]
    page.select_option("#status", "")
    page.select_option("#data", "ml-100k")
    assert page.locator("section.data:visible").count() == 1
    page.click(".reset")
    assert page.locator("section.data:visible").count() == 2
    assert len(rows(page)) == 6


def test_columns_and_what_stands_behind_values_are_switched(page):
    assert len(heads(page)) == 7
    page.uncheck('#columns input[value="HR@5"]')
    assert len(heads(page)) == 6
    assert page.locator("#table-1 thead tr:first-child th:visible").count() == 5
    page.select_option("#k", "1")
    assert page.locator("#table-1 tbody tr:first-child td:visible").count() == 2
    assert page.locator("#table-1 tr:has-text('Later') td").get_attribute("colspan") == "2"
    page.select_option("#k", "")
    assert page.locator("#table-1 .ci:visible").count() == 0
    page.check('#parts input[value="ci"]')
    assert "Δ" in page.locator("#table-1 .ci:visible").first.inner_text()
    assert page.locator("#table-1 .sd:visible").count() == 0
    page.check('#parts input[value="sd"]')
    assert page.locator("#table-1 .sd:visible").count() > 0
    page.uncheck('#parts input[value="sd"]')
    assert page.locator("#table-1 .sd:visible").count() == 0


def test_a_cell_opens_its_details_by_keyboard_and_gives_the_focus_back(page):
    cells = page.locator("#table-1 tbody button.cell")
    assert page.locator('#table-1 button.cell[tabindex="0"]').count() == 1
    cells.first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    dialog = page.locator("#detail")
    assert dialog.is_visible()
    assert page.inner_text("#detail-title") == "Good, DivRatio@5"
    told = dialog.inner_text()
    for word in (
        "Mean",
        "Deviation between seeds",
        "95 % interval",
        "Holm: ",
        "By seed",
    ):
        assert word in told
    assert dialog.locator("table.small tbody tr").count() == 3
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.className") == "cell"
    assert "open=" not in page.url


def test_details_say_why_values_are_missing_and_run_nothing_foreign(page):
    page.locator("#table-1 tr:has(.who:text('Better')) button.cell").first.click()
    told = page.inner_text("#detail")
    assert "2/3 seeds" in told
    assert 'Seed 1: died: <script>alert("x")</script>' in told
    page.locator("#detail .close").click()
    page.locator("#table-1 tr:has(.who:text('Broken')) button.cell").first.click()
    assert "CUDA out of memory" in page.inner_text("#detail")


def test_the_exported_view_has_all_values_in_full_precision(page, board):
    page.check('#parts input[value="sd"]')
    lines = exported(page)
    assert len(lines) == 2 * 6
    with (board[1] / "table.csv").open(encoding="utf-8") as file:
        means = {(one["row"], one["metric"]): one["mean"] for one in csv.DictReader(file)
                 if one["dataset"] == "synthetic"}  # fmt: skip
    for line in lines[:6]:
        for metric in board[0].metrics:
            expected = means[line["row"], metric]
            assert (float(line[metric]) == float(expected)) if expected else line[metric] == ""
    assert lines[2]["NDCG@5 sd"].startswith("± 0.")


def test_the_exported_view_follows_filters_columns_parts_and_order(page):
    header(page, "NDCG@5", 2).locator("button").click()
    page.select_option("#data", "ml-100k")
    page.uncheck('#columns input[value="HR@5"]')
    page.uncheck('#parts input[value="sd"]')
    lines = exported(page)
    assert [line["row"] for line in lines] == rows(page, 2)
    assert list(lines[0]) == [
        "data set", "group", "row", "DivRatio@1", "DivRatio@5", "ORRatio@1", "MGU@5", "NDCG@5",
    ]  # fmt: skip
    page.fill("#find", "good")
    assert [line["row"] for line in exported(page)] == ["Good"]
    page.click(".reset")
    assert len(exported(page)) == 12


def test_the_address_restores_what_is_shown(page, browser, board):
    page.fill("#find", "o")
    page.uncheck('#columns input[value="MGU@5"]')
    page.check('#parts input[value="p"]')
    header(page, "NDCG@5", 2).locator("button").click()
    page.locator("nav a", has_text="Hyper-parameters").click()
    page.locator("#table-2 tr:has-text('Good') button.cell").first.click()
    address, order = page.url, rows(page, 2)
    other = page.context.new_page()
    other.goto(address)
    assert other.locator("#detail").is_visible()
    assert other.inner_text("#detail-title") == "Good, DivRatio@1"
    other.keyboard.press("Escape")
    assert rows(other, 2) == order
    assert other.input_value("#find") == "o"
    assert not other.is_checked('#columns input[value="MGU@5"]')
    assert other.is_checked('#parts input[value="p"]')
    assert header(other, "NDCG@5", 2).get_attribute("aria-sort") == "descending"
    other.click(".reset")
    assert "#" not in other.url


def test_an_address_from_elsewhere_breaks_nothing(page, board):
    for state in (
        "#open=gone&row=x&metric=y&sort=a&by=b&order=c&data=none&k=77",
        "#rows",
        "#%%%=&",
    ):
        page.goto("about:blank")
        page.goto((board[1] / "index.html").as_uri() + state)
        assert len(rows(page)) == 6
        assert not page.locator("#detail").is_visible()


def test_stale_rows_can_be_found_and_say_what_moved(page):
    page.select_option("#status", "stale")
    assert rows(page) == ["Good"]
    assert rows(page, 2) == []
    page.locator("#table-1 tbody tr:visible button.cell").first.click()
    told = page.inner_text("#detail-body")
    assert "sft 999 →" in told
    assert "First test cases, seed 0" in told
    assert "<b>Thre" in told
    assert "Four (rank 2 in the list)" in told


OPENINGS = (
    "",
    "document.querySelectorAll('details').forEach((one) => one.open = true)",
    "document.querySelector('#table-1 button.cell').click()",
)
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 320, "height": 700}},
}


@pytest.mark.parametrize("looks", LOOKS)
def test_the_accessibility_checker_finds_nothing_serious(browser, board, looks):
    for page in opened(browser, board[1], **LOOKS[looks]):
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        for opening in OPENINGS:
            page.evaluate(opening)
            found = axe.Axe().run(page).response["violations"]
            serious = [
                (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS
            ]
            assert serious == []


def test_the_name_stays_in_sight_at_320_pixels(browser, board):
    for page in opened(browser, board[1], viewport={"width": 320, "height": 700}):
        region = page.locator(".scroll:has(#table-1)")
        region.evaluate("one => one.scrollLeft = 300")
        left = page.locator("#table-1 tbody th").first.bounding_box()["x"]
        assert left == pytest.approx(region.bounding_box()["x"], abs=1)


def test_print_has_no_controls_and_the_page_is_whole_without_script(browser, board):
    for page in opened(browser, board[1]):
        page.emulate_media(media="print")
        assert not page.locator("form.controls").is_visible()
        assert page.locator("#table-1 tbody tr:visible").count() == 6
    for page in opened(browser, board[1], java_script_enabled=False):
        assert not page.locator("form.controls").is_visible()
        assert rows(page) == ["Base", "Oracle", "Good", "Better, <i>&</i> 🎬", "Broken", "Later"]
        assert "CUDA out of memory" in page.inner_text("#data-1")


def test_an_empty_search_says_so_and_the_head_of_a_long_table_stays_in_sight(page):
    message = page.locator("#data-1 .empty")
    assert not message.is_visible()
    page.locator("#find").fill("no such row")
    assert "No row matches" in message.inner_text()
    message.locator("button").click()
    assert not message.is_visible()
    assert page.locator("#find").input_value() == ""
    page.set_viewport_size({"width": 900, "height": 260})
    frame = page.locator("#data-1 .scroll").first
    frame.evaluate("each => { each.scrollTop = 150; }")
    offset = "each => each.getBoundingClientRect().top"
    assert page.locator("#table-1 thead").evaluate(offset) == frame.evaluate(offset)
