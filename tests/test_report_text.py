"""Numbers and tables as text."""

import pytest

from facebench.report.text import (
    Footnotes,
    byte_count,
    counted,
    markdown_table,
    number,
    weights_size,
    with_interval,
)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.30712, "", "0.3071"),
        (0.0, "", "0.0000"),
        (0.01, "", "0.0100"),
        (0.0047512, "", "0.00475"),
        (0.00021349, "", "0.000213"),
        (34.6789, "dB", "34.68"),
        (float("nan"), "", "–"),
        (None, "", "–"),
        (float("inf"), "dB", "∞"),
        (-0.0047512, "", "-0.00475"),
    ],
)
def test_numbers(value, unit, text):
    assert number(value, unit) == text


def test_an_interval_follows_its_value_unless_undefined():
    assert with_interval(0.3, 0.29, 0.31) == "0.3000 [0.2900, 0.3100]"
    assert with_interval(0.3, float("nan"), float("nan")) == "0.3000"


@pytest.mark.parametrize(("value", "text"), [(61.25, "61.2"), (999.9, "999.9"), (1643.2, "1,643")])
def test_bytes(value, text):
    assert byte_count(value) == text


@pytest.mark.parametrize(("size", "text"), [(0, "–"), (4_000, "4.0 kB"), (1_774_000, "1.77 MB")])
def test_weights(size, text):
    assert weights_size(size) == text


def test_counts():
    assert counted(1, "identity") == "1 identity"
    assert counted(2, "identity") == "2 identities"
    assert counted(1565, "picture") == "1,565 pictures"


def test_cells_that_look_like_numbers_stay_as_they_are():
    table = markdown_table(["codec", "bytes"], [["1e5", "1,643"], ["x", "0.10"]])
    assert "| 1e5 " in table and "1,643 |" in table and "0.10 |" in table


def test_footnotes_are_numbered_once():
    notes = Footnotes()
    marks = [notes.mark(f"note {i}") for i in [*range(10), 0]]
    assert marks[0] == marks[-1] == "¹"
    assert marks[9] == "¹⁰"
    assert notes.lines()[9] == "¹⁰ note 9"
