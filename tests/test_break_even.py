"""What a picture really costs, and when a decoder's weights pay for themselves: checked by hand."""

from __future__ import annotations

import math

import pytest
from constructed_run import Point, make_run

from facebench.analysis.break_even import pictures_to_break_even, real_bytes, real_costs
from facebench.analysis.summary import Summary, summarise
from facebench.report.cost import break_even_section

# Payloads of the same size in every picture and the mean 1-SSIM: what is read off a curve is exact.
LEARNED = {"weights_bytes": 900_000, "weights_digest": "ab" * 32, "curve": "net"}


def point(label: str, value: float, size: int, **about: object) -> Point:
    return Point(label, [value, value], [size, size], about={"codec": label.split(":")[0], **about})


def summary(*points: Point) -> Summary:
    return summarise(make_run(points), resamples=0)


def net() -> list[Point]:
    """Three operating points, the middle one 0.3 at 50 bytes."""
    return [point(f"net:q={size}", value, size, **LEARNED) for value, size in ((0.4, 30), (0.3, 50), (0.2, 80))]


def old(codec: str, *places: tuple[float, int], curve: str | None = None, weights: int = 0) -> list[Point]:
    name = curve or codec
    digest = {"weights_bytes": weights, "weights_digest": "cd" * 32} if weights else {}
    return [point(f"{name}:q={size}", value, size, curve=name, codec=codec, **digest) for value, size in places]


def test_break_even_is_where_both_cost_the_same() -> None:
    assert pictures_to_break_even(50, 900_000, 200) == 6000
    assert real_bytes(50, 900_000, 6000) == 200
    assert pictures_to_break_even(50, 900_000, 200, 600) == 5996
    assert pictures_to_break_even(200, 900_000, 200) == math.inf


def test_the_middle_operating_point_is_held_against_the_rivals_bytes_at_its_quality() -> None:
    (cost,) = real_costs(summary(*net(), *old("dct", (0.4, 100), (0.2, 400))))
    assert (cost.curve, cost.quality, cost.payload, cost.weights) == ("net", 0.3, pytest.approx(50), 900_000)
    # Half way from 0.4 to 0.2, in the logarithm: the geometric mean of 100 and 400.
    assert cost.rivals["dct"].bytes.value == pytest.approx(200)
    assert cost.rivals["dct"].pictures == pytest.approx(6000)
    assert cost.at(1_000) == pytest.approx(950)
    assert cost.at(1_000_000) == pytest.approx(50.9)


def test_given_qualities_are_read_off_the_curve_and_none_beyond_it() -> None:
    costs = real_costs(summary(*net(), *old("dct", (0.4, 100), (0.2, 400))), values=(0.35, 0.1))
    assert [(cost.quality, cost.payload) for cost in costs] == [(0.35, pytest.approx(math.sqrt(30 * 50)))]


def test_of_a_rivals_curves_the_one_with_the_fewest_bytes_counts_with_its_tables() -> None:
    (cost,) = real_costs(
        summary(*net(), *old("dct", (0.3, 400)), *old("dct", (0.3, 200), curve="dct:bare", weights=600))
    )
    assert cost.rivals["dct"].curve == "dct:bare"
    assert cost.rivals["dct"].pictures == pytest.approx((900_000 - 600) / 150)


def test_weights_smaller_than_a_picture_do_not_make_a_codec_learned() -> None:
    raw = 64 * 64 * 3
    assert [c.curve for c in real_costs(summary(*old("a", (0.3, 50), weights=raw - 1)))] == []
    assert [c.curve for c in real_costs(summary(*old("a", (0.3, 50), weights=raw)))] == ["a"]


def test_the_table_says_never_and_why_there_is_no_number() -> None:
    rivals = [*old("tiny", (0.4, 20), (0.2, 45)), *old("dct", (0.4, 100), (0.2, 400)), *old("fine", (0.1, 900))]
    text = "\n\n".join(break_even_section(summary(*net(), *rivals)))
    (row,) = [line for line in text.splitlines() if line.startswith("| net")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:6] == ["net", "0.3000", "50.0", "900.0 kB", "never (30.0 B)", "6,000 (200.0 B)"]
    assert cells[-3:] == ["950.0", "59.0", "50.9"]
    assert "even with fine" not in text  # better already at its fewest bytes, and so for every curve here


def test_a_rival_without_a_number_for_one_curve_only_has_a_footnote() -> None:
    other = [point("net2:q=1", 0.1, 60, **{**LEARNED, "curve": "net2"})]
    text = "\n\n".join(break_even_section(summary(*net(), *other, *old("fine", (0.1, 960)))))
    assert "–¹ |" in text
    assert "¹ fine has 0.1 at its fewest bytes, 960, already" in text
    assert "1,000 (960.0 B)" in text


def test_a_run_without_learned_codecs_has_no_such_table() -> None:
    assert break_even_section(summary(*old("dct", (0.3, 100)))) == []
