"""One line for each figure: what was measured, what is wanted, whether that is met."""

from __future__ import annotations


def verdict(what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
    """Print ``what``, its value and whether it is within its bound."""
    met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    bounds = [f"at least {at_least:g}"] if at_least is not None else []
    bounds += [f"at most {at_most:g}"] if at_most is not None else []
    print(f"{what}: {value:.3g} (wanted: {' and '.join(bounds)}; {'met' if met else 'MISSED'})", flush=True)
