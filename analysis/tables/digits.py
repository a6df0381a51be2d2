"""How numbers are kept: to so many digits that they are the same on every machine."""

import math

DIGITS = 9
"""Digits of a kept number: what lies beyond them depends on the machine that computed it."""


def kept_text(value: float | None) -> str:
    """A number as it is kept, as text; empty for none and for NaN."""
    return "" if value is None or math.isnan(value) else f"{value:.{DIGITS}g}"


def kept(value: float) -> float:
    """A number as it is kept."""
    return float(f"{value:.{DIGITS}g}")
