"""What a processor is called in records, so that times of different machines are never merged."""

from __future__ import annotations

import pytest

from bench.env import model_name, processor_name

FACTS = """processor\t: 0
cpu family\t: {family}
model\t\t: {model}
model name\t: {name}
stepping\t: 1

processor\t: 1
cpu family\t: 99
model\t\t: 99
model name\t: another
"""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("AMD EPYC", "AMD EPYC (family 25, model 17)"),
        ("Intel(R) Xeon(R) Processor", "Intel(R) Xeon(R) Processor (family 25, model 17)"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel(R) Xeon(R) CPU @ 2.20GHz (family 25, model 17)"),
        ("Intel(R) Xeon(R) Platinum 8488C", "Intel(R) Xeon(R) Platinum 8488C"),
        ("AMD EPYC 9R14", "AMD EPYC 9R14"),
        ("13th Gen Intel(R) Core(TM) i7-13700K @ 3.40GHz", "13th Gen Intel(R) Core(TM) i7-13700K @ 3.40GHz"),
    ],
)
def test_a_name_shared_by_generations_gets_family_and_model(name, shown):
    assert model_name(FACTS.format(family=25, model=17, name=name)) == shown


def test_two_generations_of_one_name_are_two_machines():
    names = {model_name(FACTS.format(family=6, model=model, name="AMD EPYC")) for model in (17, 1)}
    assert len(names) == 2


@pytest.mark.parametrize("facts", ["", "processor: 0\nBogoMIPS: 50.00\n", "no colon at all"])
def test_without_a_model_name_there_is_none(facts):
    assert model_name(facts) == ""
    assert processor_name()


def test_a_generic_name_without_numbers_stays_as_it_is():
    assert model_name("model name: AMD EPYC\n") == "AMD EPYC"
