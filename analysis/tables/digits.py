"""How numbers are kept, to so many digits that they are the same on every machine, and how a range is written."""

import math
from collections.abc import Sequence

DIGITS = 9
"""The number of digits of a number that is kept. Further digits depend on the machine that computed it."""


def kept_text(value: float | None) -> str:
    """A number as it is kept, as text; empty for none and for NaN."""
    return "" if value is None or math.isnan(value) else f"{value:.{DIGITS}g}"


def kept(value: float) -> float:
    """A number rounded to the digits that are kept."""
    return float(f"{value:.{DIGITS}g}")


def number_range(numbers: Sequence[int]) -> str:
    """The range of whole numbers, as "1,000–2,000"; one number where all are equal."""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
