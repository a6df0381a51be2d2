"""Under which weights a number of a weighted ensemble was found. The long table of scores has a column for it."""

from typing import Literal

Weighting = Literal["", "smoothed", "filtered", "unweighted"]

PLAIN: Weighting = ""
"""The weighting of an ensemble without weights, and of numbers that do not depend on weights, such as costs."""

SMOOTHED: Weighting = "smoothed"
"""All frames count by their weights, whose tail is replaced by a Pareto distribution fitted to it. Nothing is
removed."""

FILTERED: Weighting = "filtered"
"""The frames with the highest 0.2 % of the weights are removed, as in the published protocol. This moves the
weighted means."""

UNWEIGHTED: Weighting = "unweighted"
"""All frames count alike, as the method proposed them, whatever their weights."""
