"""The benchmarks run by hand and seldom: what they name has to be there whenever they do."""

from importlib import import_module

import pytest

from benchmarks.measures import MEASURES
from benchmarks.report import markdown
from benchmarks.results import Figure, Goal, Measured
from benchmarks.scale import QUICK
from benchmarks.way import WAYS


@pytest.mark.parametrize("place", WAYS.values())
def test_every_way_is_there(place: str) -> None:
    module, _, function = place.partition(".")

    assert callable(getattr(import_module(f"benchmarks.{module}"), function))


def test_every_measure_says_what_it_measures() -> None:
    assert all(measure.__doc__ for measure in MEASURES.values())


def test_a_new_document_keeps_what_was_written_by_hand() -> None:
    measured = [Measured("command", [Figure("the whole in its part", [3.0, 2.0, 1.0], Goal(1.5, "≤ 1.50"))])]
    before = "# Benchmarks\n\n## Figures\n\nof yesterday\n\n## What was tried\n\nA fourth core.\n"

    document = markdown(measured, QUICK, "python -m benchmarks", "0.1", 1.0, before)

    assert document.endswith("## What was tried\n\nA fourth core.\n")
    assert "of yesterday" not in document
    assert "| the whole in its part | ≤ 1.50 | 1.00 / 2.00 / 3.00 | MISSED |" in document
    assert "- the whole in its part: 2.00, and the goal is ≤ 1.50." in document
