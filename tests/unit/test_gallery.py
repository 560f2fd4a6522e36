"""`mixbench gallery`: pairs, labels, masks, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli.main import main
from bench.data.normalise import Normaliser
from bench.page.gallery_figure import GalleryRow, draw_gallery, first_share, partner_of, row_name
from bench.page.mixture import Mixture, label_words, mixtures, partners
from methods.api import Draws
from tools.method_facts import fitting


def test_partners_are_other_images():
    assert partners(4).tolist() == [1, 2, 3, 0]


def test_label_words_are_sorted_and_leave_out_what_is_not_there():
    assert label_words(torch.tensor([0.25, 0.0, 0.75]), ["cat", "dog", "bird"]) == "bird 75 %, cat 25 %"
    assert label_words(torch.zeros(3), ["cat", "dog", "bird"]) == ""


def test_first_share_finds_the_weight_and_tells_where_it_cannot():
    first = torch.zeros(3, 4, 4, dtype=torch.uint8)
    second = torch.full((3, 4, 4), 200, dtype=torch.uint8)
    second[:, 0, 0] = 5
    mixed = (0.3 * first.float() + 0.7 * second.float()).round().to(torch.uint8)
    share = first_share(mixed, first, second)
    assert torch.isnan(share[0, 0])
    assert share[1:].sub(0.3).abs().max() < 0.01
    assert first_share(first, first, second)[2, 2] == 1
    assert first_share(second, first, second)[2, 2] == 0


def test_no_share_is_told_where_a_pixel_is_no_mix_of_the_two():
    first, second = torch.full((3, 4, 4), 20, dtype=torch.uint8), torch.full((3, 4, 4), 220, dtype=torch.uint8)
    mixed = (0.4 * first.float() + 0.6 * second.float()).round().to(torch.uint8)
    mixed[0, 1, 2] += 60
    share = first_share(mixed, first, second)
    assert torch.isnan(share).nonzero().tolist() == [[1, 2]]
    assert share[0].sub(0.4).abs().max() < 0.01


def test_the_mask_is_that_of_the_partner_that_was_taken():
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for taken in (1, 3):
        mixed = (0.5 * images[0].float() + 0.5 * images[taken].float()).round().to(torch.uint8)
        assert partner_of(mixed, images, first=0, usual=1) == taken
    assert partner_of(images[0], images, first=0, usual=1) == 1


def test_the_picture_has_a_line_for_each_method_and_one_more_for_its_mask(tmp_path):
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = Mixture(images, torch.eye(3), Draws("", {"lam": torch.tensor(0.5)}))
    rows = [GalleryRow("one", made), GalleryRow("two", None, "mixes nothing")]
    sizes = {}
    for masks in (False, True):
        path = tmp_path / f"{masks}.png"
        draw_gallery(path, images, torch.arange(3), partners(3), ["a", "b", "c"], rows, masks, "title")
        with Image.open(path) as picture:
            sizes[masks] = picture.size
            assert np.asarray(picture).std() > 10
    assert sizes[True][0] == sizes[False][0]
    assert sizes[True][1] > 1.2 * sizes[False][1]


@pytest.mark.parametrize(
    ("name", "branches"),
    [("mixup", {""}), ("mixup_cutmix", {"mixup", "cutmix"}), ("manifold_mixup", {"input"}), ("erm", set())],
)
def test_every_way_of_mixing_pixels_is_drawn_once(name, branches):
    method, backbone = fitting(name)
    images = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    made = mixtures(backbone, method, images, torch.arange(6), Normaliser((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    assert len(made) == len(branches)
    assert {one.draws.branch for one in made} == branches
    for one in made:
        share = first_share(one.images[0], images[0], images[1])
        assert float(share.nanmean()) == pytest.approx(float(one.targets[0, 0]), abs=0.01)


def test_a_row_tells_its_method_its_branch_and_its_lam():
    made = Mixture(torch.zeros(2, 1, 4, 4), torch.eye(2), Draws("mixup", {"lam": torch.tensor(0.25)}))
    assert row_name(GalleryRow("some", made)) == "some\nmixup\nlam 0.25"
    assert row_name(GalleryRow("some", made._replace(draws=Draws("", {"lam": torch.ones(2)})))) == "some"


def test_the_command_draws_the_same_bytes_every_time(tmp_path, capsys):
    options = ["gallery", "--methods", "mixup,erm,cutmix", "--images", "3", "-o"]
    assert main([*options, str(tmp_path / "new" / "a.png")]) == 0
    assert capsys.readouterr().out.strip().endswith("a.png")
    assert main([*options, str(tmp_path / "b.png")]) == 0
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "gallery.pdf"], "PNG"),
        (["--images", "1"], "2 to 64"),
        (["--methods", "mixupp"], "mixup"),
        (["--data", "digitz"], "digits"),
        (["--set", "data=digits"], "--data"),
    ],
)
def test_bad_input_is_one_line(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["gallery", *options]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert words in line
    assert not list(tmp_path.iterdir())
