from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from bench.page import bounds
from bench.page.render import json_text, policy
from tests.browser.example_page import HOSTILE, example_html, example_tables


class Reader(HTMLParser):
    """All elements with their attributes, and the text of scripts and of table cells."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.texts = {}
        self.open = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return example_tables(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def html(tables):
    return example_html(tables)


@pytest.fixture(scope="module")
def read(html):
    return Reader(html)


def test_nothing_is_loaded_from_anywhere(html, read):
    loading = {"src", "srcset", "href", "action", "data", "poster", "xlink:href", "background", "formaction"}
    links = [value for _, attributes in read.elements for name, value in attributes.items() if name in loading]
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("#", "data:"))] == []
    styles = "".join(read.texts["style"])
    assert "url(" not in styles
    assert "@import" not in styles
    assert not {"iframe", "object", "embed", "base", "form"} & {tag for tag, _ in read.elements} - {"form"}


def test_the_policy_names_the_script_and_forbids_connections(read):
    content = next(a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = {rule.split()[0]: rule.split()[1:] for rule in content.split("; ")}
    assert rules["default-src"] == ["'none'"]
    assert rules["connect-src"] == ["'none'"]
    scripts = [text for text in read.texts["script"] if not text.startswith("{")]
    digest = hashlib.sha256("".join(scripts).encode()).digest()
    assert rules["script-src"] == [f"'sha256-{base64.b64encode(digest).decode()}'"]
    assert [a for tag, a in read.elements if any(name.startswith("on") for name in a)] == []


def test_hostile_names_are_text_everywhere(html, read):
    assert HOSTILE not in html
    assert sum(tag == "script" for tag, _ in read.elements) == 2
    assert not any(a.get("src") == "x" for _, a in read.elements)
    assert HOSTILE in read.texts["span"]
    alts = [a["alt"] for tag, a in read.elements if tag == "img"]
    assert alts == [f"a {HOSTILE}"] * 6


def test_the_data_are_json_that_holds_the_names_unchanged(html):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1]
    data = json.loads(text)
    assert HOSTILE in {row["method"] for row in data["runs"].values()}
    assert not {"<", ">", "&", "\u2028"} & set(text)


def test_json_text_survives_a_round_trip_and_refuses_nan():
    value = {"</script><!--": ["\u2028\u2029&amp;", 1.5, None]}
    text = json_text(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert "<" not in text
    with pytest.raises(ValueError, match="JSON"):
        json_text(float("nan"))


def test_another_script_has_another_policy():
    assert policy(["a"]) != policy(["b"])


def test_the_same_tables_give_the_same_page(tables, html):
    assert example_html(tables) == html


def test_skips_and_failures_stand_in_footnotes(read):
    notes = [text for text in read.texts["li"] if "diverged: loss is not finite" in text]
    assert notes
    assert any("14 of 15" in text or "9 of 10" in text for text in read.texts["span"])


def test_every_cell_of_the_study_has_its_protocol(read):
    values = read.texts["dd"]
    assert "digest of cifar10" in values
    assert "digest of cifar100" in values
    assert "2.6.0" in values


def test_a_page_says_what_it_has_no_room_for(tables, html, monkeypatch):
    rows, runs = len(tables.accuracy.rows), sum(len(row.runs) for cell in tables.study.cells for row in cell.rows)
    monkeypatch.setattr(bounds, "MOST_RUNS", runs)
    monkeypatch.setattr(bounds, "MOST_ROWS", rows)
    assert example_html(tables) == html
    monkeypatch.setattr(bounds, "MOST_RUNS", runs - 1)
    fewer_runs = example_html(tables)
    data = page_data(fewer_runs)
    assert {(len(row["runs"]), len(row["values"])) for row in data["runs"].values()} == {(0, 0)}
    assert {row["method"] for row in data["runs"].values()} == {
        row["method"] for row in page_data(html)["runs"].values()
    }
    assert f"there are {runs}, and it holds {runs - 1}" in " ".join(Reader(fewer_runs).texts["li"])
    monkeypatch.setattr(bounds, "MOST_ROWS", rows - 1)
    fewer_rows = Reader(example_html(tables))
    boards = [attributes["id"] for tag, attributes in fewer_rows.elements if attributes.get("class") == "board"]
    assert "board-leaderboard" in boards
    assert "board-accuracy" not in boards
    assert "Not on this page" in " ".join(fewer_rows.texts["li"])
    assert "Not on this page" not in html


def page_data(html):
    return json.loads(next(text for text in Reader(html).texts["script"] if text.lstrip().startswith("{")))
