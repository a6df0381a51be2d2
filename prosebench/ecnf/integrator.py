"""Integration of an ordinary differential equation for many frames side by side, by Dormand and Prince's pair.

Each frame has a step of its own, so its numbers do not depend on which others are in the batch. Coefficients and
control: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, sections II.4 and II.5.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Parts = tuple[Tensor, ...]
Rate = Callable[[Tensor, Parts], Parts]
"""The right-hand side of the equation: from the time (frames,) and the parts of the state, each (frames,
...), to the time derivatives of these parts."""

TIMES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
"""The coefficients of each stage. The last row is the step of order 5, and also the state where the next step
starts."""
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""The coefficients of the error estimate: the step of order 5 minus that of order 4."""

SAFETY, LEAST_FACTOR, MOST_FACTOR = 0.9, 0.2, 10.0
STEPS_BETWEEN_LOOKS = {"cpu": 1, "cuda": 4}
"""After this many steps, frames that have ended are left out; by kind of device. To count them the host must
wait for a GPU, so there it looks less often."""
FIRST_SHARE = 0.01
"""The first step changes the state by about this share of its size (II.4, step a of the automatic choice)."""
LEAST_STEP = 1e-5
"""The smallest step, as a share of the interval. If a shorter one were needed, the equation counts as one
that cannot be integrated."""


@dataclass(frozen=True)
class Solution:
    """parts at the end, NaN in frames that could not be integrated; evaluations (frames,) of the rate."""

    parts: Parts
    evaluations: Tensor


@torch.no_grad()
def integrate(
    rate: Rate, parts: Parts, start: float, end: float, *, absolute: float = 1e-4, relative: float = 1e-4
) -> Solution:
    """Integrate from start to end with steps that hold every part to tolerances.

    The error of a step, divided by absolute + relative * size, is at most 1 in the mean square of each part.
    """
    n, length = len(parts[0]), end - start
    device = parts[0].device
    looks = STEPS_BETWEEN_LOOKS.get(device.type, 1)
    t = torch.full((n,), start, dtype=torch.float64, device=device)
    rows, running = torch.arange(n, device=device), torch.ones(n, dtype=torch.bool, device=device)
    slope = rate(t, parts)
    step = _first_step(parts, slope, absolute, relative).clamp(max=abs(length)).copysign(torch.tensor(length))
    done, evaluations = [part.clone() for part in parts], torch.ones(n, dtype=torch.int64, device=device)
    while len(rows):
        for _ in range(looks):
            final = (t + step - end) * length >= 0
            step = torch.where(final, end - t, step)
            new, new_slope, error = _step(rate, t, parts, slope, step)
            evaluations[rows] += running * (len(TIMES) - 1)
            size = _error_size(error, parts, new, absolute, relative)
            # Frames that have ended stay as they are until they are left out.
            accepted = (size <= 1.0) & running
            t, parts = torch.where(accepted, t + step, t), _where(accepted, new, parts)
            slope = _where(accepted, new_slope, slope)
            factor = (SAFETY * size**-0.2).nan_to_num(LEAST_FACTOR, MOST_FACTOR)
            factor = factor.clamp(LEAST_FACTOR, MOST_FACTOR)
            step = step * torch.where(accepted, factor, factor.clamp(max=1.0))
            lost = running & ~accepted & (step.abs() < LEAST_STEP * abs(length))
            parts = tuple(part.where(~_spread(lost, part, torch.bool), torch.nan) for part in parts)
            running = running & ~((accepted & final) | lost)
        for target, part in zip(done, parts, strict=True):
            target[rows] = part
        (left,) = running.nonzero(as_tuple=True)
        rows, t, step, running = rows[left], t[left], step[left], running[left]
        parts, slope = tuple(part[left] for part in parts), tuple(part[left] for part in slope)
    return Solution(tuple(done), evaluations)


def integrate_fixed(rate: Rate, parts: Parts, start: float, end: float, *, steps: int) -> Solution:
    """Integrate with equal steps of order 5; autograd can go through it."""
    n = len(parts[0])
    step = torch.full((n,), (end - start) / steps, dtype=torch.float64, device=parts[0].device)
    for k in range(steps):
        slopes: list[Parts] = []
        for time, weights in zip(TIMES[:-1], STAGES[:-1], strict=True):
            at = _moved(parts, slopes, weights, step) if weights else parts
            slopes.append(rate(start + (k + time) * step, at))
        parts = _moved(parts, slopes, STAGES[-1], step)
    return Solution(parts, torch.full((n,), steps * len(TIMES[:-1]), device=step.device))


def _step(
    rate: Rate, t: Tensor, parts: Parts, slope: Parts, step: Tensor
) -> tuple[Parts, Parts, list[Tensor]]:
    """Take one step (frames,) of every frame: the new state, its slope, and the estimated error of each part."""
    slopes, new = [slope], parts
    for time, weights in zip(TIMES[1:], STAGES[1:], strict=True):
        new = _moved(parts, slopes, weights, step)
        slopes.append(rate(t + time * step, new))
    error = [_combined(ERROR, [one[p] for one in slopes], step) for p in range(len(parts))]
    return new, slopes[-1], error


def _moved(parts: Parts, slopes: list[Parts], weights: tuple[float, ...], step: Tensor) -> Parts:
    return tuple(part + _combined(weights, [one[p] for one in slopes], step) for p, part in enumerate(parts))


def _combined(weights: tuple[float, ...], slopes: list[Tensor], step: Tensor) -> Tensor:
    total = sum(weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight)
    assert isinstance(total, Tensor)
    return _spread(step, total) * total


def _spread(values: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The values (frames,), one a frame, in a shape that goes with a part of the state, in its precision or
    another."""
    return values.to(dtype or like.dtype).view(-1, *[1] * (like.ndim - 1))


def _where(condition: Tensor, new: Parts, old: Parts) -> Parts:
    pairs = zip(new, old, strict=True)
    return tuple(torch.where(condition.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs)


def _error_size(error: list[Tensor], old: Parts, new: Parts, absolute: float, relative: float) -> Tensor:
    sizes = [
        _root_mean_square(e / (absolute + relative * torch.maximum(a.abs(), b.abs())))
        for e, a, b in zip(error, old, new, strict=True)
    ]
    return torch.stack(sizes).amax(dim=0)


def _first_step(parts: Parts, slope: Parts, absolute: float, relative: float) -> Tensor:
    state, rate = (
        torch.stack(
            [
                _root_mean_square(v / (absolute + relative * part.abs()))
                for v, part in zip(values, parts, strict=True)
            ]
        ).amax(dim=0)
        for values in (parts, slope)
    )
    return (FIRST_SHARE * state / rate.clamp(min=1e-12)).clamp(min=1e-3)


def _root_mean_square(values: Tensor) -> Tensor:
    return values.double().reshape(len(values), -1).square().mean(dim=1).sqrt()
