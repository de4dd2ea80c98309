"""The graphs of the bundled models do as many operations as before, whatever a clock says."""

import json
from pathlib import Path

import pytest

from bench.operations import NUMBERS, count

MOST_CHANGED = 0.02
REMEDY = "If this is intended, run `python -m bench.operations --write`."


@pytest.mark.slow
def test_operations_are_those_that_were_counted(graphs: Path) -> None:
    expected, found = json.loads(NUMBERS.read_text("utf-8")), count(graphs)
    assert found.keys() == expected.keys()
    for name, numbers in expected.items():
        assert found[name] == pytest.approx(numbers, rel=MOST_CHANGED), f"{name}: {REMEDY}"
