from __future__ import annotations

from tests.browser.example_page import HOSTILE


def test_a_hostile_name_is_shown_and_does_nothing(example, open_page):
    page = open_page(example)
    for details in page.locator(".board-details summary").all():
        details.click()
    page.wait_for_timeout(300)
    assert page.evaluate("window.broken") is None
    assert page.locator("img[src='x']").count() == 0
    assert page.evaluate("document.scripts.length") == 2
    names = page.locator("#leaderboard .method").all_text_contents()
    assert names.count(HOSTILE) == 2
    assert page.title() == f"mixbench: Example {HOSTILE}".replace("\u2028", " ") or HOSTILE in page.title()
    assert page.locator("#gallery img").first.get_attribute("alt") == f"a {HOSTILE}"


def test_it_is_plain_text_in_charts_and_in_what_they_show_on_hover(example, open_page):
    page = open_page(example)
    page.locator("[data-chart=clean-robust]").scroll_into_view_if_needed()
    page.wait_for_selector("[data-chart=clean-robust] .textpoint")
    labels = page.locator("[data-chart=clean-robust] .textpoint text").all_text_contents()
    assert any(label.startswith("<img src=x onerro") for label in labels)
    page.evaluate(
        """() => {
          const plot = document.querySelector("[data-chart=clean-robust] .plot");
          const place = plot.data.findIndex((trace) => trace.name.includes("img"));
          Plotly.Fx.hover(plot, [{ curveNumber: place, pointNumber: 0 }]);
        }"""
    )
    page.wait_for_selector("[data-chart=clean-robust] .hovertext")
    hover = page.locator("[data-chart=clean-robust] .hovertext").first.text_content()
    assert '<img src=x onerror="window.broken=1">\'"</script>' in hover
    assert "%{x}" in hover
    assert page.evaluate("window.broken") is None
    assert page.locator(".plot a, .plot image, .plot script").count() == 0


def test_the_policy_stops_what_would_slip_through(example, open_page, tmp_path):
    path = tmp_path / "injected.html"
    attack = '<script>window.broken=3</script><img src="data:," onerror="window.broken=4">'
    path.write_text(example.read_text(encoding="utf-8").replace("<main>", f"<main>{attack}", 1), encoding="utf-8")
    page = open_page(path)
    page.wait_for_timeout(200)
    assert page.evaluate("window.broken") is None
    blocked = "fetch('https://example.org/').then(() => 'sent', () => 'blocked')"
    assert page.evaluate(blocked) == "blocked"
    assert [text for text in page.watch.complaints if "Content Security Policy" in text]
    page.watch.complaints.clear()
    page.watch.requests.clear()
