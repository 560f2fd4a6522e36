"""A tuning folder belongs to the settings that it was written with; more trials go on from it, others are refused."""

from __future__ import annotations

import pytest

from bench.config.overrides import parse_set_options
from bench.errors import BadInput
from bench.tune.plan import Settings
from bench.tune.settings_file import SETTINGS_FILE, require_same, write_settings

GIVEN = ["data.validation=0.1", "methods=[erm, mixup]"]


@pytest.fixture
def folder(tmp_path):
    write_settings(tmp_path, Settings(16), parse_set_options(GIVEN))
    return tmp_path


@pytest.mark.parametrize("trials", [16, 32])
def test_the_same_command_and_more_trials_go_on(folder, trials):
    require_same(folder, Settings(trials), parse_set_options(GIVEN[::-1]))


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        (Settings(8), GIVEN),
        (Settings(16, sampler="qmc"), GIVEN),
        (Settings(16, seed=1), GIVEN),
        (Settings(16), GIVEN[:1]),
        (Settings(16), ["data.validation=0.2", GIVEN[1]]),
        (Settings(16), [GIVEN[0], "methods=[erm, cutmix]"]),
        (Settings(16), [*GIVEN, "protocol.epochs=3"]),
    ],
)
def test_other_settings_are_refused(folder, settings, given):
    before = (folder / SETTINGS_FILE).read_bytes()
    with pytest.raises(BadInput, match=r'holds a tuning with other settings \(trials 16, sampler "random", seed 90001'):
        require_same(folder, settings, parse_set_options(given))
    assert (folder / SETTINGS_FILE).read_bytes() == before


@pytest.mark.parametrize("text", ["", '{"seed": 1', "[]"])
def test_a_damaged_file_is_one_clear_line(folder, text):
    (folder / SETTINGS_FILE).write_text(text)
    with pytest.raises(BadInput, match="is damaged; move the folder away"):
        require_same(folder, Settings(16), parse_set_options(GIVEN))


def test_a_new_folder_is_anybodys(tmp_path):
    require_same(tmp_path / "none", Settings(16), parse_set_options(GIVEN))
