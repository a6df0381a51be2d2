import math
from itertools import pairwise

import pytest
import torch

from prosebench.ecnf.integrator import integrate, integrate_fixed


def turning(t, parts):
    """A circle, and a number that grows as exp(sin t)."""
    x, y = parts
    return torch.stack([-x[:, 1], x[:, 0]], dim=1) * 3.0, y * torch.cos(t)


def start(n=1):
    return torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(n, -1), torch.ones(n, dtype=torch.float64)


def error(solution, time):
    x, y = solution.parts
    truth = torch.tensor([math.cos(3 * time), math.sin(3 * time)], dtype=torch.float64)
    return max(float((x - truth).abs().max()), float((y - math.exp(math.sin(time))).abs().max()))


def test_equal_steps_are_of_order_five():
    errors = [error(integrate_fixed(turning, start(), 0.0, 2.0, steps=n), 2.0) for n in (20, 40, 80)]
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([5, 5], abs=0.4)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_the_error_follows_the_tolerance(tolerance):
    solution = integrate(turning, start(), 0.0, 2.0, absolute=tolerance, relative=tolerance)
    assert tolerance / 1000 < error(solution, 2.0) < 30 * tolerance


def test_evaluations_are_counted_and_few():
    calls = []

    def counted(t, parts):
        calls.append(len(t))
        return turning(t, parts)

    solution = integrate(counted, start(2), 0.0, 2.0)
    assert solution.evaluations.tolist() == [sum(calls) // 2] * 2
    assert sum(calls) < 150
    assert integrate_fixed(turning, start(2), 0.0, 2.0, steps=3).evaluations.tolist() == [18, 18]


def test_backward_undoes_forward():
    there = integrate(turning, start(), 0.0, 1.0, absolute=1e-8, relative=1e-8)
    back = integrate(turning, there.parts, 1.0, 0.0, absolute=1e-8, relative=1e-8)
    for ours, theirs in zip(back.parts, start(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_frames_step_for_themselves():
    """A stiff frame beside an easy one changes nothing for the easy one, and one that blows up is NaN alone."""

    def rate(t, parts):
        (x,) = parts
        return (torch.where(x.abs() > 10.0, x**2, torch.cos(20.0 * x * t[:, None])),)

    x = torch.tensor([[0.3], [2.0], [11.0]], dtype=torch.float64)
    together = integrate(rate, (x,), 0.0, 1.0)
    assert together.evaluations[1] > together.evaluations[0]
    assert torch.isnan(together.parts[0][2]).all()
    for i in range(2):
        alone = integrate(rate, (x[i : i + 1],), 0.0, 1.0)
        assert torch.equal(alone.parts[0][0], together.parts[0][i])
        assert alone.evaluations[0] == together.evaluations[i]
