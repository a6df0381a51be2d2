"""Under which weights a number of a weighted ensemble was found. The long table of scores has a column for it."""

from typing import Literal

Weighting = Literal["", "smoothed", "filtered", "unweighted"]

PLAIN: Weighting = ""
"""Of an ensemble without weights, or of a number that knows no weights, as costs."""

SMOOTHED: Weighting = "smoothed"
"""All weights, their tail replaced by a Pareto distribution fitted to it: nothing is removed."""

FILTERED: Weighting = "filtered"
"""The highest 0.2 % of the weights removed, as in the published protocol. That moves the mean of what is weighted."""

UNWEIGHTED: Weighting = "unweighted"
"""The frames as the method proposed them, with no regard to their weights."""
