from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.json_tables import indented

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_the_text_is_that_of_the_standard_library(value):
    assert indented(value) == json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False)


@pytest.mark.parametrize("value", [[float("nan")], {"a": [{"b": float("inf")}, {}]}])
def test_numbers_that_json_does_not_have_are_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        indented(value)
