"""Whole numbers as vectors that a network can tell apart."""

import torch
from torch import Tensor


def sinusoid(positions: Tensor, channels: int, base: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Positions (...) as (..., channels): sin and cos in turn of position / base^(2k / channels), k = 0, 1, ...

    Source: Vaswani et al., arXiv 1706.03762, section 3.5.
    """
    frequencies = base ** -(
        torch.arange(0, channels, 2, device=positions.device, dtype=torch.float64) / channels
    )
    angles = positions.double()[..., None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).to(dtype)
