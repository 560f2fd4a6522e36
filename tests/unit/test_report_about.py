"""Title and note of a folder of records or of a suite stand at the head wherever its tables are shown, as text only."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.cli.tables import suite_tables
from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.records import Store
from bench.report.about import About, about, read_about
from bench.report.slices import Slice, sliced
from bench.report.write import table_files
from tests.golden.tables.example_records import write_study

TITLE, NOTE = "Small study", "Images re-encoded as JPEG; compares with no published figure."
PLAIN = f"title: {TITLE}\nnote: >-\n  Images re-encoded as JPEG;\n  compares with no published figure.\n"
HOSTILE = (
    "# <script>alert(1)</script> | `x` ![i](http://h/p.png) 100 % \\input{/etc/passwd} $x_1^2$ {\n"
    "\\end{document}\x1b[2J\u202e"
)
HEADS = {"tables.md", "slices.md", "tables.json", "tables.tex"}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder / "records", {"erm": [0.80, 0.81], "mixup": [0.82, 0.83]})
    return folder


@pytest.fixture
def folder(study, tmp_path) -> Path:
    return shutil.copytree(study, tmp_path / "study")


def written(folder: Path, capsys, *options: str) -> tuple[dict[str, str], str]:
    assert main(["table", str(folder), *options]) == 0
    return {path.name: path.read_text() for path in (folder / "tables").glob("*.*")}, capsys.readouterr().out


class Texts(HTMLParser):
    """What stands in which element, and all elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.setdefault(self.tags[-1] if self.tags else "", []).append(data)


def test_only_the_heads_change(folder, capsys):
    bare, bare_out = written(folder, capsys)
    (folder / "about.yaml").write_text(PLAIN)
    full, out = written(folder, capsys)
    assert {name for name in full if full[name] != bare[name]} == HEADS
    assert out == f"{TITLE}\n{NOTE}\n\n{bare_out}"
    for name, heading in (("tables.md", "Results"), ("slices.md", "Leaderboard in slices")):
        assert full[name] == bare[name].replace(f"# {heading}\n", f"# {heading}: {TITLE}\n\nNote: {NOTE}\n", 1)
    before, after = json.loads(bare["tables.json"]), json.loads(full["tables.json"])
    assert list(after)[:3] == ["schema", "title", "note"]
    assert after == {**before, "title": TITLE, "note": NOTE}
    assert full["tables.tex"].splitlines()[1:3] == [f"% {TITLE}", f"% {NOTE}"]
    tables = full["tables.tex"].split("\\begin{table}")[1:]
    assert len(tables) >= 3
    assert all(f"\\footnotesize {TITLE}. {NOTE}" in table for table in tables)
    assert main(["table", str(folder), "--check"]) == 0
    (folder / "about.yaml").write_text(PLAIN.replace("JPEG", "PNG"))
    assert main(["table", str(folder), "--check"]) == 1


def test_the_folder_of_the_records_itself_is_read_alike(folder, capsys, monkeypatch):
    (folder / "about.yaml").write_text(PLAIN)
    _, out = written(folder, capsys)
    assert main(["table", str(folder / "records")]) == 0
    assert capsys.readouterr().out.startswith(f"{TITLE}\n")
    monkeypatch.chdir(folder / "records")
    assert main(["table", "."]) == 0
    assert capsys.readouterr().out.startswith(f"{TITLE}\n")
    bare = folder.with_name("without-a-records-folder")
    shutil.copytree(folder / "records", bare)
    (bare / "about.yaml").write_text(PLAIN)
    assert read_about(bare) == About(TITLE, NOTE)
    assert out.startswith(f"{TITLE}\n")


def test_compare_and_report_say_it(folder, capsys):
    assert main(["compare", "mixup", str(folder)]) == 0
    bare = capsys.readouterr().out
    assert main(["compare", "mixup", str(folder), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    (folder / "about.yaml").write_text(PLAIN)
    assert main(["compare", "mixup", str(folder)]) == 0
    assert capsys.readouterr().out == f"{TITLE}\n{NOTE}\n\n{bare}"
    assert main(["compare", "mixup", "--results", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"title": TITLE, "note": NOTE, **data}
    page = folder / "page"
    assert main(["report", str(folder), "-o", str(page), "--no-gallery"]) == 0
    read = Texts((page / "index.html").read_text())
    assert TITLE in read.texts["h1"]
    assert NOTE in read.texts["p"]


def test_a_page_of_several_folders_says_whose_note_it_is(folder, study, tmp_path):
    (folder / "about.yaml").write_text(PLAIN)
    page = tmp_path / "page"
    assert main(["report", str(folder), str(study), "-o", str(page), "--no-gallery"]) == 0
    assert f"{TITLE}: {NOTE}" in Texts((page / "index.html").read_text()).texts["p"]


def test_hostile_texts_are_text(folder, capsys):
    (folder / "about.yaml").write_text(f"title: {json.dumps(HOSTILE)}\nnote: {json.dumps(HOSTILE)}\n")
    files, out = written(folder, capsys)
    shown = [*files.values(), out]
    assert not [text for text in shown if "\x1b" in text or "\u202e" in text]
    for name in ("tables.md", "slices.md"):
        head = files[name].split("\n\n")[:2]
        assert all("<script" not in part and "](" not in part and "`" not in part for part in head)
        assert [part[:2] for part in head] == ["# ", "No"]
    tex = files["tables.tex"].splitlines()
    assert [line[:2] for line in tex[:3]] == ["% "] * 3
    said = [line for line in tex if "script" in line]
    assert len(said) > 4
    for line in said:
        assert "\\input" not in line
        assert "\\end{document}" not in line
        assert "100 \\% \\textbackslash{}input\\{/etc/passwd\\} \\$x\\_1\\textasciicircum{}2\\$ \\{ " in line
    assert main(["report", str(folder), "-o", str(folder / "page"), "--no-gallery"]) == 0
    html = (folder / "page" / "index.html").read_text()
    read = Texts(html)
    assert "<script>alert(1)" not in html
    assert read.tags.count("script") == 2
    assert about(HOSTILE).title in read.texts["h1"]
    assert about(HOSTILE).title in read.texts["p"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel: x\n", "about.yaml:1: unknown key 'titel'; did you mean 'title'?"),
        ("title: x\nseeds: 3\n", "about.yaml:2: unknown key 'seeds'; choose one of: note, title"),
        ("note: x\n", "about.yaml: 'title' is missing"),
        ("title: x\nnote: [a, b]\n", "about.yaml:2: note: must be text"),
        ("title: 2024\n", "about.yaml:1: title: must be text"),
        ("title: '  '\n", "about.yaml:1: title: must not be empty"),
        ("title: x\ntitle: y\n", "about.yaml:2: 'title' stands twice (first on line 1)"),
        ("title: !!python/object/apply:os.getcwd []\n", "about.yaml:1: could not determine a constructor"),
        ("title: [x\n", "about.yaml:2: is not valid YAML"),
        ("- x\n", "about.yaml: must hold 'key: value' lines at its top"),
        ("title: " + "[" * 20_000, "about.yaml: is nested too deeply"),
        ("a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
         "about.yaml:1: unknown key 'a'"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_line_and_exit_code_2(folder, capsys, text, message):
    (folder / "about.yaml").write_text(text)
    for command in (["table", str(folder)], ["compare", "mixup", str(folder)], ["report", str(folder), "-o", "page"]):
        assert main(command) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert message in said.err
    assert not (folder / "tables").exists()


def test_a_suite_brings_its_own_title_and_note(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "about.yaml").write_text(PLAIN)
    suite = load_suite("quickstart", parse_set_options(["seeds=1"]))
    tables = suite_tables(suite, Store(tmp_path / "records"))
    assert tables.about == About(suite.file.title, suite.file.note)
    page = table_files(tables)["tables.md"].decode()
    assert page.startswith(f"# Results: {suite.file.title}\n\nNote: A smoke test of the whole harness. ")
    assert sliced(tables, Slice(data=("digits",)), {}).about == tables.about
