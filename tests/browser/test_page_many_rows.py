from __future__ import annotations

BOUND = 0.2
"""Seconds that a person waits, the least of three times: what the clock says, or what the processor says where other
work on the machine makes the clock's time longer (the processor's holds the work after the rows are laid out too)."""


def times(page):
    """Seconds for a sort each way, a filter and a search, until the page is laid out again."""
    sort = "document.querySelector(\"#leaderboard th[data-column='top1']\").click()"
    choose = "document.querySelector('#filters [name=family]').value = 'feature'; page.applyFilters()"
    search = "document.querySelector('#filters [name=text]').value = 'copy-01'; page.applyFilters()"
    clear = "document.getElementById('filters').reset(); page.applyFilters()"
    acts = {"sort": sort, "sort back": sort, "filter": choose, "search": search, "clear": clear}
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked():
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "ThreadTime")

    found = {}
    for name, act in acts.items():
        before = worked()
        wall = page.evaluate(
            f"""() => new Promise((resolve) => {{
              const begin = performance.now();
              [...page.boards.values()][0].one("draw", () => {{
                document.body.getBoundingClientRect();
                resolve(performance.now() - begin);
              }});
              {act};
            }})"""
        )
        processor = worked() - before
        found[name] = min(processor, wall / 1000)
        print(f"{name}: {processor * 1000:.0f} ms of the processor, {wall:.0f} ms by the clock")
    return found


def test_2000_rows_sort_and_filter_without_a_wait(example_of_2000_rows, open_page):
    page = open_page(example_of_2000_rows)
    assert page.text_content("#count") == "2000 rows"
    top1 = "[...page.boards.values()][0].column('[data-column=top1]').nodes().toArray().map((one) => Number(one.dataset.order))"
    values = page.evaluate(top1)
    assert len(values) == 2000
    tries = [times(page) for _ in range(3)]
    assert max(min(one[act] for one in tries) for act in tries[0]) < BOUND
    assert page.text_content("#count") == "2000 rows"
    column = [
        *page.evaluate(
            "[...document.querySelector('#leaderboard thead tr').cells].map((one) => one.dataset.column ?? '')"
        )
    ]
    shown = page.locator(f"#leaderboard tbody tr td:nth-child({column.index('top1') + 1})")
    assert [float(cell.get_attribute("data-order")) for cell in shown.all()[:5]] == sorted(values)[:5]
