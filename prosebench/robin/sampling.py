"""Draws and their densities, coordinate by coordinate, and densities of given frames, all coordinates at once."""

from collections.abc import Iterator

import torch
from torch import Tensor

from prosebench.robin.bins import from_bins, inside, log_width_nm, to_bins
from prosebench.robin.network import Cache, Known, Network

LOGITS_BYTES = 2**28
"""The memory in bytes for the logits of the tokens that are worked on together."""


@torch.no_grad()
def draw(network: Network, known: Known, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (n, atoms, 3) in units and their log-densities (n,) in nm^-3atoms, both float64, from uniform numbers
    (n, atoms, 3, 2) in [0, 1): one for the bin of each coordinate and one for its place in the bin.
    """
    config, (n, atoms) = network.config, uniforms.shape[:2]
    for_bins, shares = uniforms.double().flatten(1, 2).unbind(-1)
    caches = [Cache(n, 3 * atoms, config, known.start) for _ in range(config.layers)]
    bins = torch.zeros(n, 3 * atoms, dtype=torch.long, device=uniforms.device)
    log_p = torch.zeros(n, dtype=torch.float64, device=uniforms.device)
    before = bins[:, :1].clone()
    for token in range(3 * atoms):
        h = network(before, known, caches, first=token)
        of_bins = _of_all_bins(network, h[:, 0])
        before = _chosen(of_bins, for_bins[:, token : token + 1])
        log_p += of_bins.gather(1, before)[:, 0]
        bins[:, token] = before[:, 0]
    u = from_bins(bins, shares, config).unflatten(1, (atoms, 3))
    return u, log_p - 3 * atoms * log_width_nm(config)


def log_density(network: Network, known: Known, u: Tensor) -> Tensor:
    """Log-density (n,) float64, in nm^-3atoms, of frames u (n, atoms, 3) in units; -inf beyond the bins."""
    config, flat = network.config, u.flatten(1)
    log_p = log_probabilities(network, known, to_bins(flat, config)).sum(dim=1)
    log_p = torch.where(inside(flat, config).all(dim=1), log_p, -torch.inf)
    return log_p - flat.shape[1] * log_width_nm(config)


def log_probabilities(network: Network, known: Known, bins: Tensor) -> Tensor:
    """The log-probability (n, 3 atoms), in float64, of each bin, given those before it."""
    before = torch.cat([torch.zeros_like(bins[:, :1]), bins[:, :-1]], dim=1)
    h = network(before, known)
    # The logits of all tokens together would not fit into memory.
    parts = _parts(len(bins), bins.shape[1], network.config.bins)
    return torch.cat(
        [_of_all_bins(network, h[:, part]).gather(2, bins[:, part, None])[..., 0] for part in parts], dim=1
    )


def _of_all_bins(network: Network, h: Tensor) -> Tensor:
    """The log-probabilities (..., bins) of all bins, in float64."""
    logits = network.logits(h).double() / network.config.logit_temperature
    return logits.log_softmax(dim=-1)


def _chosen(log_probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The first bin (n, 1) up to which the probabilities (n, bins) add up to more than a uniform number (n, 1)."""
    sums = log_probabilities.exp().cumsum(dim=-1)
    return torch.searchsorted(sums, uniforms * sums[:, -1:], right=True).clamp(max=sums.shape[1] - 1)


def _parts(frames: int, tokens: int, bins: int) -> Iterator[slice]:
    """Stretches of tokens whose logits, in float64, fit into LOGITS_BYTES."""
    size = max(1, LOGITS_BYTES // (8 * bins * max(1, frames)))
    return (slice(first, first + size) for first in range(0, tokens, size))
