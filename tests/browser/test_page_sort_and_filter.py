from __future__ import annotations

import pytest

from tests.browser.waiting import until

BOARD = "#leaderboard table.board"


def shown(page, column=None):
    """The texts of a column of the leaderboard, the methods' without one, in the order of the screen."""
    return page.evaluate(
        """([board, column]) => {
          const table = document.querySelector(board);
          const heads = [...table.tHead.rows[0].cells];
          const place = column ? heads.findIndex((head) => head.dataset.column === column) : 0;
          return [...table.tBodies[0].rows].map((row) => {
            const cell = row.cells[place];
            return column ? cell.dataset.order : cell.querySelector(".method").textContent;
          });
        }""",
        [BOARD, column],
    )


def head(page, column):
    return page.locator(f"{BOARD} thead th[data-column='{column}']")


def sorted_as(page, column, order):
    """Wait until the page says so: it redraws after the click has returned."""
    until(page, "([cell, order]) => document.querySelector(cell).ariaSort === order",
          [f"{BOARD} thead th[data-column='{column}']", order])  # fmt: skip


def test_a_click_sorts_by_a_column_and_a_second_one_turns_the_order(example, open_page):
    page = open_page(example)
    values = [float(value) for value in shown(page, "top1")]
    head(page, "top1").click()
    sorted_as(page, "top1", "descending")
    assert [float(value) for value in shown(page, "top1")] == sorted(values, reverse=True)
    head(page, "top1").click()
    sorted_as(page, "top1", "ascending")
    assert [float(value) for value in shown(page, "top1")] == sorted(values)
    assert page.locator(f"{BOARD} [aria-sort]").count() == 1


def test_numbers_sort_as_numbers_and_missing_ones_come_last_both_ways(example, open_page):
    page = open_page(example)
    orders = [float(value) for value in shown(page, "corruption_mean") if value]
    missing = [""] * (len(shown(page)) - len(orders))
    assert len(missing) == 2
    for sign, order in ((-1, "descending"), (1, "ascending")):
        head(page, "corruption_mean").click()
        sorted_as(page, "corruption_mean", order)
        found = shown(page, "corruption_mean")
        assert found[-2:] == missing
        assert [float(value) for value in found[:-2]] == sorted(orders, key=lambda value: sign * value)


def test_the_keyboard_sorts(example, open_page):
    page = open_page(example)
    before = shown(page, "top1")
    button = head(page, "top1").locator("[role=button]")
    assert "sort" in button.get_attribute("aria-label").lower()
    button.focus()
    page.keyboard.press("Enter")
    sorted_as(page, "top1", "descending")
    assert shown(page, "top1") == sorted(before, key=float, reverse=True)
    page.keyboard.press("Enter")
    sorted_as(page, "top1", "ascending")
    assert shown(page, "top1") == sorted(before, key=float)
    reached = set()
    page.locator("#filters [name=text]").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('th')?.dataset.column ?? ''"))
    assert {"top1", "difference", "corruption_mean", "ratio"} <= reached


@pytest.mark.parametrize(("name", "value", "rows"), [("data", "cifar10", 5), ("backbone", "test_resnet", 10),
                                                     ("family", "feature", 2), ("family", "none", 2)])  # fmt: skip
def test_filters_keep_the_rows_that_fit(example, open_page, name, value, rows):
    page = open_page(example)
    page.select_option(f"#filters [name={name}]", value)
    until(page, "([board, n]) => document.querySelector(board).tBodies[0].rows.length === n", [BOARD, rows])
    kept = page.evaluate(f"[...document.querySelectorAll('{BOARD} tbody tr')].map((row) => row.dataset['{name}'])")
    assert kept == [value] * rows
    assert page.text_content("#count") == ("10 rows" if rows == 10 else f"{rows} of 10 rows")


def test_filters_work_together_with_search_and_are_cleared(example, open_page):
    page = open_page(example)
    page.select_option("#filters [name=data]", "cifar100")
    page.fill("#filters [name=text]", "MIX")
    until(page, "document.getElementById('count').textContent === '3 of 10 rows'")
    assert sorted(shown(page)) == ["alignmix", "augmix", "mixup"]
    page.fill("#filters [name=text]", "no such method")
    until(page, "document.getElementById('count').textContent === '0 of 10 rows'")
    assert "No row fits" in page.text_content(f"{BOARD} tbody")
    page.click("#filters [type=reset]")
    until(page, "document.getElementById('count').textContent === '10 rows'")


def test_filters_reach_charts_heat_maps_and_tables_opened_later(example, open_page):
    page = open_page(example)
    page.select_option("#filters [name=data]", "cifar100")
    page.select_option("#filters [name=family]", "none")
    until(page, "document.getElementById('count').textContent === '1 of 10 rows'")
    assert page.locator("#cell option:checked").get_attribute("data-data") == "cifar100"
    page.locator("[data-chart=severity]").scroll_into_view_if_needed()
    page.wait_for_selector("[data-chart=severity] .plot .trace")
    drawn = "document.querySelector('[data-chart=severity] .plot').data.map((trace) => trace.name)"
    assert page.evaluate(drawn) == ["erm"]
    assert page.locator(".cell-part:not([hidden]) tbody tr:not([hidden]) th").all_text_contents() == ["erm"]
    page.locator(".board-details summary", has_text="Accuracy").first.click()
    page.wait_for_selector("#board-accuracy thead [role=button]")
    assert page.locator("#board-accuracy tbody tr").count() == 1
