"""Fixtures of the contract suite; what they are made of is in contract_cells.py."""

from __future__ import annotations

import pytest
from contract_cells import Cell, arms, make_cell, running_cells


@pytest.fixture(params=arms())
def arm(request: pytest.FixtureRequest) -> str:
    """Each arm in turn."""
    return request.param


@pytest.fixture(params=running_cells(), ids="-".join)
def cell(request: pytest.FixtureRequest) -> Cell:
    """Each arm on each backbone that it runs on."""
    return make_cell(*request.param)
