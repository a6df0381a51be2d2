import math

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.stats import kstest

from prosebench.arbg.heads import (
    circle_mixture,
    draw_circle_mixture,
    draw_normal_mixture,
    normal_mixture,
)

DRAWS = 20_000


def parameters(n: int, seed: int, scale: float = 2.0) -> torch.Tensor:
    return scale * torch.from_numpy(np.random.default_rng(seed).standard_normal(n))


@pytest.mark.parametrize("seed", range(5))
def test_a_mixture_of_normals_is_normalised(seed: int) -> None:
    v = torch.linspace(-150, 150, 600_001, dtype=torch.float64)
    density = normal_mixture(parameters(9, seed), v).exp().numpy()
    assert trapezoid(density, v.numpy()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_a_mixture_on_the_circle_is_normalised_and_has_no_seam(seed: int, scale: float) -> None:
    phi = torch.linspace(-math.pi, math.pi, 200_001, dtype=torch.float64)
    log_q = circle_mixture(parameters(13, seed, scale), phi)
    assert trapezoid(log_q.exp().numpy(), phi.numpy()) == pytest.approx(1.0, abs=1e-6)
    assert float(log_q[0]) == pytest.approx(float(log_q[-1]), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_draws_have_the_density(seed: int) -> None:
    """Kolmogorov-Smirnov against the integral of the density."""
    rng = np.random.default_rng(seed)
    uniform, normal, turn = (
        torch.from_numpy(values)
        for values in (rng.random(DRAWS), rng.standard_normal(DRAWS), rng.random(DRAWS))
    )
    of_normals, of_circle = parameters(9, seed), parameters(13, seed)
    cases = [
        (
            draw_normal_mixture(of_normals.expand(DRAWS, -1), uniform, normal),
            normal_mixture,
            of_normals,
            60.0,
        ),
        (
            draw_circle_mixture(of_circle.expand(DRAWS, -1), uniform, normal, turn),
            circle_mixture,
            of_circle,
            math.pi,
        ),
    ]
    for drawn, log_density, given, edge in cases:
        grid = torch.linspace(-edge, edge, 400_001, dtype=torch.float64)
        cumulative = log_density(given, grid).exp().cumsum(0).numpy() * 2 * edge / 400_000
        found = kstest(drawn.numpy(), lambda v, g=grid, c=cumulative: np.interp(v, g.numpy(), c))
        assert found.pvalue > 1e-4


def test_a_component_without_weight_is_never_drawn() -> None:
    """Also in float32, and by uniform numbers as near to 1 as there are."""
    weights = torch.tensor([3.0, 1.0, 2.0, 0.5, 1.5, 2.5, -60.0])
    means = torch.tensor([0.0] * 6 + [1000.0])
    given = torch.cat([weights, means, torch.zeros(7)]).expand(1000, -1)
    uniform = 1.0 - torch.logspace(-16, -5, 1000, dtype=torch.float64)
    assert draw_normal_mixture(given, uniform, torch.zeros(1000)).abs().max() < 1.0
