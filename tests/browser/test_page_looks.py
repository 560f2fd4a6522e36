from __future__ import annotations

import pytest

from tests.browser.waiting import until

CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    if (!walker.currentNode.textContent.trim() || !box.width || element.closest("script, style, noscript")) continue;
    const style = getComputedStyle(element);
    if (style.visibility === "hidden") continue;
    const text = parse(element.closest("svg") ? style.fill : style.color);
    const [high, low] = [luminance(text.slice(0, 3)), luminance(behind(element).slice(0, 3))].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), walker.currentNode.textContent.trim().slice(0, 30)]);
  }
  return found;
}"""


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(example, open_page, scheme):
    page = open_page(example, color_scheme=scheme)
    for details in page.locator("details > summary").all():
        details.click()
    page.wait_for_timeout(300)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 500
    assert [one for one in found if one[0] < 4.5] == []


def test_charts_follow_the_scheme(example, open_page):
    page = open_page(example, color_scheme="dark")
    paper = "document.querySelector('.plot')._fullLayout.paper_bgcolor"
    page.locator(".plot").first.scroll_into_view_if_needed()
    until(page, "Boolean(document.querySelector('.plot')._fullLayout)")
    dark = page.evaluate(paper)
    page.emulate_media(color_scheme="light")
    until(page, f"{paper} !== '{dark}'")
    assert page.evaluate(paper) in ("#ffffff", "rgb(255, 255, 255)")


@pytest.mark.parametrize("width", [320, 375, 768])
def test_a_narrow_page_does_not_scroll_sideways(example, open_page, width):
    page = open_page(example, width=width, height=812, has_touch=True, is_mobile=True)
    for details in page.locator("details > summary").all():
        details.click()
    page.wait_for_timeout(300)
    assert overflow(page) <= 0
    first = page.locator("#leaderboard td.number[data-order]").nth(1).bounding_box()
    assert first["x"] + first["width"] <= width
    for figure in page.locator(".chart").all():
        box = figure.bounding_box()
        assert box["x"] + box["width"] <= width


def test_print_shows_all_rows_in_the_colours_of_paper_and_no_controls(example_of_2000_rows, open_page):
    page = open_page(example_of_2000_rows, color_scheme="dark")
    rows = "document.querySelector('#leaderboard table.board').tBodies[0].rows.length"
    assert page.evaluate(rows) == 50
    page.emulate_media(media="print")
    until(page, f"{rows} === 2000")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#filters").is_hidden()
    assert page.locator("#leaderboard .dt-paging").is_hidden()
    assert page.locator("#protocol dl").first.is_visible()
    page.emulate_media(media="screen")
    until(page, f"{rows} === 50")


def test_charts_are_drawn_in_the_size_of_paper_and_of_the_screen_again(example, open_page):
    page = open_page(example, width=1900, height=1000)
    widths = "[...document.querySelectorAll('.chart .plot')].map((plot) => plot.querySelector('.main-svg')?.width.baseVal.value)"
    page.emulate_media(media="print")
    until(page, f"{widths}.every((width) => width === 490)")
    heights = "[...document.querySelectorAll('.chart')].map((chart) => chart.getBoundingClientRect().height)"
    assert max(page.evaluate(heights)) < 703 / 2
    page.emulate_media(media="screen")
    page.locator("#chart-grid").scroll_into_view_if_needed()
    shown = "document.querySelector('.chart .plot')"
    until(page, f"{shown}.querySelector('.main-svg').width.baseVal.value === {shown}.clientWidth")


def test_a_screen_reader_finds_its_way(example, open_page):
    page = open_page(example)
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("h1").count() == 1
    without = (
        "[...document.querySelectorAll('main table')].filter((table) => !table.caption?.textContent.trim()).length"
    )
    assert page.evaluate(without) == 0
    nameless = "[...document.images].filter((image) => !image.alt).length"
    assert page.evaluate(nameless) == 0
    plots = page.locator(".chart .plot")
    assert plots.count() == 5
    for plot in plots.all():
        assert plot.get_attribute("role") == "img"
        assert "methods are drawn" in plot.get_attribute("aria-label")
    unnamed = """[...document.querySelectorAll("select, input, button:not(.dt-paging-button)")].filter(
      (control) => !control.labels?.length && !control.textContent.trim() && !control.ariaLabel).length"""
    assert page.evaluate(unnamed) == 0
    loose = "[...document.querySelectorAll('main thead th, main tbody th')].filter((head) => !head.scope).length"
    assert page.evaluate(loose) == 0
    targets = "[...document.querySelectorAll('a[href^=\"#\"]')].filter((a) => !document.getElementById(a.hash.slice(1))).length"
    assert page.evaluate(targets) == 0
