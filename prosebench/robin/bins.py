"""Coordinates in bins: which bin a coordinate is in, where in a bin it is drawn, and what that says of its density.

Bin b has the centre lowest + b step, and takes all that is nearer to its centre than to another: bins leave no gap,
and their density is uniform inside, 1 / step. The published code draws from an interval that is narrower than the step
by 1 / bins of it, so that it reaches all but a ten-thousandth of the axis; the two agree in all else.
"""

import math

from torch import Tensor

from prosebench.robin.config import RobinConfig


def to_bins(u: Tensor, config: RobinConfig) -> Tensor:
    """The bin (int64, of the shape of u) of each coordinate in units; beyond the outermost bins, the outermost; any bin
    for what is not a number."""
    return ((u.nan_to_num() - config.lowest) / config.step).round().clamp(0, config.bins - 1).long()


def inside(u: Tensor, config: RobinConfig) -> Tensor:
    """Whether each coordinate is in a bin, or beyond them all, where the density is 0."""
    return (u >= config.lowest - 0.5 * config.step) & (u <= config.highest + 0.5 * config.step)


def from_bins(bins: Tensor, shares: Tensor, config: RobinConfig) -> Tensor:
    """Coordinates in units, float64, that are at the shares (0 to 1) of the widths of their bins."""
    return config.lowest + (bins.double() + shares - 0.5) * config.step


def log_width_nm(config: RobinConfig) -> float:
    """Logarithm of the width of a bin in nm: what a coordinate's density has beside the probability of its bin."""
    return math.log(config.step * config.nm_per_unit)
