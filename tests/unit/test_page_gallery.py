from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli.main import main
from bench.data.open import open_data
from bench.page.gallery import galleries
from bench.records import Store
from bench.report import build_tables
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from tests.golden.tables.example_records import write_run

METHODS = {"erm": {}, "mixup": {"alpha": 1.0, "lam_per": "batch"}}


def spec_of(method, digest=None):
    return Spec(
        data=DataSpec(
            source="digits", train_per_class=5, resolution=16, channels=1, mean=(0.3,), std=(0.3,), digest=digest
        ),
        backbone=BackboneSpec(name="preact_resnet10", options={"width": 8}),
        protocol=ProtocolSpec(epochs=2, batch_size=25, learning_rate=0.1),
        method=MethodSpec(implementation=method, parameters=METHODS[method]),
        seed=0,
        labels=Labels(data="digits", backbone="narrow", protocol="short", method=method),
    )


@pytest.fixture(scope="module")
def splits():
    return open_data(spec_of("erm").data)


@pytest.fixture(scope="module")
def records(tmp_path_factory, splits):
    root = tmp_path_factory.mktemp("results") / "records"
    for method in METHODS:
        write_run(root, spec_of(method, splits.facts.digest), 0.9)
    return root


def pixels(picture):
    content = base64.b64decode(picture.uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.fixture(scope="module")
def made(records):
    tables = build_tables(Store(records).runs())
    found, missing = galleries(tables, {})
    assert missing == []
    return found[0], tables


def test_originals_are_test_images_of_different_classes(made, splits):
    gallery, _ = made
    originals = gallery.strips[0]
    assert len(originals.pictures) == 6
    test = torch.cat([images for images, _ in splits.evaluation["test"].batches(512)]).numpy()[:, 0]
    for picture in originals.pictures:
        assert (test == pixels(picture)).all(axis=(1, 2)).any()
    assert len(set(originals.note.split(", "))) == 6
    assert originals.pictures[0].alt.endswith(", not mixed")


def test_mixed_images_are_what_the_weight_says(made, splits):
    gallery, _ = made
    strips = {strip.method: strip for strip in gallery.strips}
    assert strips["erm"].pictures == []
    assert "does not mix" in strips["erm"].note
    mixup = strips["mixup"]
    assert "untrained network" in mixup.note
    weight = float(mixup.note.split("lam ")[1].split(",")[0])
    originals = [pixels(picture).astype(float) for picture in gallery.strips[0].pictures]
    test = torch.cat([images for images, _ in splits.evaluation["test"].batches(512)]).numpy()[:, 0].astype(float)
    for own, picture in zip(originals, mixup.pictures, strict=True):
        mixed = pixels(picture).astype(float)
        candidates = np.abs(mixed - (weight * own + (1 - weight) * test)).max(axis=(1, 2))
        assert candidates.min() < 3


def test_it_is_the_same_every_time(made):
    gallery, tables = made
    again, _ = galleries(tables, {})
    assert again[0] == gallery


def test_data_that_cannot_be_opened_are_told(tmp_path):
    write_run(tmp_path, spec_of("erm", "another digest"), 0.9)
    found, missing = galleries(build_tables(Store(tmp_path).runs()), {})
    assert found == []
    assert "no gallery" in missing[0]
    assert "another digest" in missing[0]


def test_the_command_writes_one_file(records, tmp_path, capsys):
    results = str(records.parent)
    assert main(["report", "--results", results, "-o", str(tmp_path / "out"), "--no-gallery"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.html"]
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "All records" in text
    assert 'id="gallery"' not in text
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "index.html")
    assert main(["report", "--results", results, "-o", str(tmp_path / "with")]) == 0
    assert "data:image/png;base64," in (tmp_path / "with" / "index.html").read_text(encoding="utf-8")


def test_a_folder_of_records_stands_where_a_suite_may_stand(records, tmp_path):
    root = str(records.parent)
    assert main(["report", root, "--results", str(tmp_path), "-o", str(tmp_path / "one"), "--no-gallery"]) == 0
    assert main(["report", str(records), "--results", str(tmp_path), "-o", str(tmp_path / "two"), "--no-gallery"]) == 0
    text = (tmp_path / "one" / "index.html").read_text(encoding="utf-8")
    assert records.parent.name in text
    assert (tmp_path / "two" / "index.html").read_text(encoding="utf-8") == text


def test_bad_input_is_one_line(records, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 2
    assert "holds no records" in capsys.readouterr().err
    assert main(["report", str(records.parent), "--set", "seeds=1"]) == 2
    assert "--set" in capsys.readouterr().err
    assert main(["report", "--results", str(tmp_path)]) == 2
    assert main(["report", "--results", str(records.parent), "--set", "seeds=1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "--set" in lines[1]
