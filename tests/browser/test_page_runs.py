from __future__ import annotations

from tests.browser.example_page import HOSTILE
from tests.browser.waiting import until


def number(page, method, column, data="cifar10"):
    """The cell of a method's number in the leaderboard."""
    return page.evaluate_handle(
        """([method, column, data]) => {
          const table = document.querySelector("#leaderboard table.board");
          const place = [...table.tHead.rows[0].cells].findIndex((head) => head.dataset.column === column);
          const fits = (row) => row.dataset.data === data && row.querySelector(".method").textContent === method;
          return [...table.tBodies[0].rows].find(fits).cells[place];
        }""",
        [method, column, data],
    ).as_element()


def lines(page):
    """Texts of the box with the runs, row by row."""
    rows = page.locator("#runs tr")
    return [row.locator("th, td").all_text_contents() for row in rows.all()]


def test_the_pointer_shows_the_runs_behind_a_number(example, open_page):
    page = open_page(example)
    number(page, "augmix", "top1").hover()
    page.wait_for_selector("#runs:not([hidden])")
    head, first, second = lines(page)
    assert head == ["seed", "run", "status", "value"]
    assert (first[0], first[2], first[3]) == ("0", "ok", "79.00")
    assert len(first[1]) == 16
    assert (second[0], second[2], second[3]) == ("1", "diverged", "–")
    page.mouse.move(5, 5)
    page.wait_for_selector("#runs", state="hidden")


def test_a_difference_shows_both_methods_and_a_ratio_its_timing(example, open_page):
    page = open_page(example)
    number(page, "mixup", "corruption_difference").hover()
    page.wait_for_selector("#runs:not([hidden])")
    head, first, _ = lines(page)
    assert head == ["seed", "run", "status", "corrupted, %", "erm"]
    assert float(first[3]) > float(first[4])
    number(page, "mixup", "ratio").hover()
    until(page, "document.getElementById('runs').textContent.includes('timed in 8 rounds')")


def test_the_keyboard_reaches_every_number(example, open_page):
    page = open_page(example)
    page.locator("#leaderboard tbody td[tabindex='0']").focus()
    assert page.locator("#runs").is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "runs"
    before = page.text_content("#runs")
    page.keyboard.press("ArrowDown")
    assert page.text_content("#runs") != before
    second = page.evaluate("document.activeElement.cellIndex")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.cellIndex") == second + 1
    neighbour = (
        "document.activeElement.closest('table').tHead.rows[0].cells[document.activeElement.cellIndex].textContent"
    )
    assert page.locator("#runs caption").text_content().endswith(f": {page.evaluate(neighbour)}")
    page.keyboard.press("Escape")
    assert page.locator("#runs").is_hidden()
    assert page.locator("#leaderboard tbody td[tabindex='0']").count() == 1


def test_a_tap_shows_them_on_a_phone(example, open_page):
    page = open_page(example, width=375, height=812, has_touch=True, is_mobile=True)
    number(page, HOSTILE, "top1").tap()
    page.wait_for_selector("#runs:not([hidden])")
    box = page.locator("#runs").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 375
    page.locator("h2").first.tap()
    page.wait_for_selector("#runs", state="hidden")


def test_heat_maps_have_runs_too(example, open_page):
    page = open_page(example)
    page.locator(".heat tbody tr", has_text="augmix").first.locator("td").nth(3).hover()
    page.wait_for_selector("#runs:not([hidden])")
    assert page.locator("#runs caption").text_content() == "augmix: corruption defocus blur, %"
    assert lines(page)[1][2] == "ok"
    assert float(lines(page)[1][3]) > 0
