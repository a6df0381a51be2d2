"""Learning rate over a run, and the exponential moving average of the weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def one_cycle(step: int, steps: int, peak: float, *, warm_up: float = 0.05, divisor: float = 500.0) -> float:
    """Learning rate of step 0 ... steps - 1: from peak / divisor up to peak in the first warm_up of the run, and back.

    Both ways by half a cosine (Smith and Topin, arXiv 1708.07120, with the shape and numbers of arXiv 2508.18175).
    """
    low, top = peak / divisor, warm_up * steps
    rise = step / top if step < top else 1.0 - (step - top) / max(steps - 1 - top, 1.0)
    return low + (peak - low) * 0.5 * (1.0 - math.cos(math.pi * min(max(rise, 0.0), 1.0)))


class Ema:
    """Exponential moving average of a module's parameters: average = decay * average + (1 - decay) * weights."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = dict(module.named_parameters())
        self.average = {name: value.detach().clone() for name, value in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step of the optimiser."""
        torch._foreach_lerp_(list(self.average.values()), list(self._weights.values()), 1.0 - self.decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within this context, the module has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self._weights.items():
            held: Tensor = value.detach().clone()
            value.copy_(self.average[name])
            self.average[name].copy_(held)
