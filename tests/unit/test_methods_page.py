"""The page of all methods, what `list` tells of them, and the facts behind both."""

from __future__ import annotations

import json

import pytest
import torch

from bench.cli.main import main
from bench.config.catalogue import method_facts, method_names
from tools import methods_page
from tools.method_facts import FILE, fitting, kept, label_gap, source
from tools.methods_page import HEAD, NOT_MEASURED, measured, page, ratio


@pytest.fixture
def mixup_on_a_small_net():
    method, backbone = fitting("mixup")
    images = torch.randint(0, 256, (32, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return method, backbone, (images, torch.arange(32) % 10)


def test_the_committed_page_is_what_facts_and_records_give():
    made = page(methods_page.read_facts(), methods_page.read_board())
    assert methods_page.PAGE.read_text(encoding="utf-8") == made
    assert all(f"methods/{name}.md" in made for name in method_names())


def test_every_method_is_measured_with_its_present_code():
    facts = json.loads(FILE.read_text(encoding="utf-8"))
    assert {name: one["source"] for name, one in facts.items()} == {name: source(name) for name in method_names()}


def test_the_head_names_who_has_no_label_test_and_who_does_not_follow_pixels():
    facts = {method_facts(name).title: (one, method_facts(name)) for name, one in methods_page.read_facts().items()}
    untold = [title for title, (one, _) in facts.items() if one["share_kept"] and one["label_gap"] is None]
    assert untold == ["RecursiveMix"]
    otherwise = {title: method for title, (one, method) in facts.items() if one["label_gap"]}
    by_maps = {title for title, method in otherwise.items() if method.family == "transformer"} | {"SnapMix"}
    assert all(title in HEAD for title in (*untold, *(otherwise.keys() - by_maps)))


def test_what_was_not_measured_says_so():
    assert measured(None) == (NOT_MEASURED,) * 3
    assert ratio(None) == NOT_MEASURED
    assert ratio({"ratio": "1.5", "ratio_low": "", "ratio_high": ""}) == "1.50"
    facts = {
        "share_kept": {"mean": 0.5, "standard_error": 0.01, "count": 10000, "of": "draws"},
        "label_gap": None,
        "passes": 2.0,
    }
    assert measured(facts) == ("50.0 +- 1.0 (10,000 draws)", "-", "2")


def test_measured_numbers_are_those_of_the_definition(mixup_on_a_small_net):
    method, backbone, images = mixup_on_a_small_net
    shares = kept(method, backbone, images[0], 200).shares
    assert len(shares) == 200
    assert abs(sum(shares) / 200 - 0.5) < 4 * (1 / 12 / 200) ** 0.5
    gap = label_gap(method, backbone)
    assert gap is not None
    assert gap < 0.003  # images are made of whole brightness steps of 1/255


def test_list_filters_by_family_and_tells_what_was_measured(capsys):
    assert main(["list", "methods", "-v", "--family", "single-image"]) == 0
    text = capsys.readouterr().out
    assert "augmix" in text
    assert "ICLR 2020" in text
    assert "passes a step: 3" in text
    assert "mixup" not in text.replace("manifold", "")
    assert main(["list", "methods", "-v", "--family", "learned"]) == 0
    assert "share kept on average: 50.3 +- 0.2 % (10,000 draws)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["methods", "--family", "singel-image"], "single-image"),
        (["--family", ""], "no method is of this family"),
        (["data", "--family", "input"], "only methods have families, not data"),
    ],
)
def test_a_family_that_is_none_is_one_line(options, words, capsys):
    assert main(["list", *options]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert words in line
