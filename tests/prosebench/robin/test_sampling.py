"""Draws and densities are of one and the same distribution, and that is normalised."""

import itertools
import math

import numpy as np
import pytest
import torch

from prosebench.robin import sampling
from prosebench.robin.bins import from_bins, log_width_nm, to_bins
from prosebench.robin.network import Cache, Known, Network
from prosebench.robin.sampling import draw, log_density, log_probabilities

from .conftest import PEPTIDE, tiny_config, tiny_network


def uniforms(n: int, atoms: int = PEPTIDE.n_atoms, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((n, atoms, 3, 2)))


def first_atoms(network: Network, atoms: int) -> Known:
    """As if a peptide had but a few atoms."""
    known = network.known(PEPTIDE.topology)
    keys, values = (one[:, :, :atoms] for one in known.atoms)
    return Known(known.start[: 3 * atoms], (keys, values))


@torch.no_grad()
def test_probabilities_of_all_frames_add_up_to_one():
    """One atom of three bins an axis: 27 frames of bins, each of the volume of a bin."""
    network = tiny_network(bins=3)
    known, config = first_atoms(network, 1), network.config
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    middle = torch.tensor(0.5, dtype=torch.float64)
    density = log_density(network, known, from_bins(every, middle, config).unflatten(1, (1, 3)))
    probabilities = (density + 3 * log_width_nm(config)).exp()
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert probabilities.max() > 3 * probabilities.min()


@torch.no_grad()
def test_frames_are_drawn_as_often_as_their_density_says():
    network = tiny_network(bins=3)
    known, config, n = first_atoms(network, 1), network.config, 40_000
    u, _ = draw(network, known, uniforms(n, 1))
    numbers = to_bins(u.flatten(1), config) @ torch.tensor([9, 3, 1])
    counts = torch.bincount(numbers, minlength=27).double()
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    expected = n * log_probabilities(network, known, every).sum(dim=1).exp()
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 26 + 4 * math.sqrt(2 * 26)
    within = (u.flatten() - config.lowest) / config.step + 0.5
    shares = within - within.floor()
    assert shares.mean().item() == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / len(shares)))


@torch.no_grad()
def test_draws_with_a_cache_are_those_of_all_tokens_at_once():
    """The bin of each coordinate is found again by inverting the sums of probabilities from one whole pass."""
    network = tiny_network()
    known, config, numbers = network.known(PEPTIDE.topology), network.config, uniforms(5)
    u, log_q = draw(network, known, numbers)
    bins = to_bins(u.flatten(1), config)
    before = torch.cat([torch.zeros_like(bins[:, :1]), bins[:, :-1]], dim=1)
    logits = network.logits(network(before, known)) / config.logit_temperature
    sums = logits.softmax(dim=-1).cumsum(dim=-1)
    again = (sums <= numbers.flatten(1, 2)[..., :1]).sum(dim=-1)
    assert torch.equal(again, bins)
    torch.testing.assert_close(log_density(network, known, u), log_q, rtol=1e-12, atol=1e-9)


@torch.no_grad()
def test_a_token_sees_those_before_it_alone():
    network = tiny_network()
    known = network.known(PEPTIDE.topology)
    bins = torch.randint(network.config.bins, (2, 51), generator=torch.Generator().manual_seed(0))
    changed = bins.clone()
    changed[:, 20] = (changed[:, 20] + 7) % network.config.bins
    one, other = (log_probabilities(network, known, some) for some in (bins, changed))
    torch.testing.assert_close(one[:, :20], other[:, :20], rtol=0, atol=1e-12)
    assert ((one[:, 20:] - other[:, 20:]).abs() > 1e-9).all()


@torch.no_grad()
def test_parts_of_the_logits_change_nothing(monkeypatch):
    network = tiny_network()
    known = network.known(PEPTIDE.topology)
    u, _ = draw(network, known, uniforms(3))
    whole = log_density(network, known, u)
    monkeypatch.setattr(sampling, "LOGITS_BYTES", 8 * 32 * 3 * 4)
    torch.testing.assert_close(log_density(network, known, u), whole, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_temperature_of_the_logits_sharpens_draws_and_density_alike():
    sharp, plain = tiny_network(logit_temperature=0.3), tiny_network(logit_temperature=1.0)
    known = plain.known(PEPTIDE.topology)
    for network in (sharp, plain):
        u, log_q = draw(network, known, uniforms(20))
        torch.testing.assert_close(log_density(network, known, u), log_q, rtol=1e-12, atol=1e-9)
    assert draw(sharp, known, uniforms(20))[1].mean() > draw(plain, known, uniforms(20))[1].mean() + 5


@torch.no_grad()
def test_beyond_the_bins_there_is_no_density():
    network = tiny_network()
    known, u = network.known(PEPTIDE.topology), torch.zeros(3, PEPTIDE.n_atoms, 3, dtype=torch.float64)
    u[1, 4, 2] = 5.0
    u[2, 0, 0] = torch.nan
    assert torch.isfinite(log_density(network, known, u)).tolist() == [True, False, False]


def test_a_cache_gives_what_it_was_given():
    cache = Cache(2, 4, tiny_config(), torch.zeros(1))
    tokens = torch.randn(3, 2, 2, 1, 8)
    for i, token in enumerate(tokens):
        keys, values = cache.grow(token, -token)
        assert torch.equal(keys, torch.cat(list(tokens[: i + 1]), dim=2))
        assert torch.equal(values, -keys)
