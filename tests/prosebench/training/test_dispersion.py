import numpy as np
import pytest
import torch

from prosebench.training.dispersion import DispersionRecipe, dispersion, spread


def test_a_boltzmann_density_has_none() -> None:
    energies = torch.from_numpy(np.random.default_rng(0).standard_normal(50))
    assert dispersion(7.0 - energies, energies, 15.0).abs().max() < 1e-20


def test_its_mean_is_the_variance() -> None:
    rng = np.random.default_rng(1)
    log_q, energies = rng.standard_normal(200), rng.standard_normal(200)
    found = dispersion(torch.from_numpy(log_q), torch.from_numpy(energies), 15.0)
    assert float(found.mean()) == pytest.approx(np.var(log_q + energies))
    assert spread(log_q, energies, 4) == pytest.approx(np.var(log_q + energies) / 4)


def test_what_is_not_finite_or_far_away_does_not_rule() -> None:
    log_q = torch.zeros(4, dtype=torch.float64)
    found = dispersion(log_q, torch.tensor([0.0, 0.0, np.inf, 1e6], dtype=torch.float64), 15.0)
    assert found[2] == 0
    assert found[3] == 15.0**2
    assert torch.isfinite(found).all()


def test_descent_makes_a_density_that_of_the_energy() -> None:
    """The width of a normal, learned from energies alone, on points that are not drawn from it."""
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)
    energies = 0.5 * (x / 0.5) ** 2
    log_width = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([log_width], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        log_q = -0.5 * (x / log_width.exp()) ** 2 - log_width
        dispersion(log_q, energies, 15.0).mean().backward()
        optimiser.step()
    assert float(log_width.exp().detach()) == pytest.approx(0.5, rel=0.02)


def test_the_weight_comes_up_late() -> None:
    recipe = DispersionRecipe(weight=0.4, start=0.5, ramp=0.2)
    assert [recipe.at(part) for part in (0.0, 0.5, 0.6, 0.9)] == pytest.approx([0.0, 0.0, 0.2, 0.4])
