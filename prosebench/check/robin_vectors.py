"""Comparison of Robin with stored numbers (`robin_*.npz`).

A file holds `meta` (JSON: sequences, the size, where its numbers are from), `state/NAME` (weights under their published
names), and of each sequence `x` (frames, atoms, 3) in units, the `bins` (frames, 3 atoms) that they are in,
`log_p_tokens`, the log-probability of each of these bins at the logit temperature, and their sum `log_p`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prosebench.check.comparison import Check
from prosebench.flows.device import choose_device
from prosebench.peptide import Peptide
from prosebench.robin.bins import log_width_nm, to_bins
from prosebench.robin.config import RobinConfig
from prosebench.robin.network import Known, Network
from prosebench.robin.sampling import draw, log_density, log_probabilities
from prosebench.robin.weights import from_published
from prosebench.store.storage import read_arrays

TOKEN_TOLERANCE = 2e-4
LOG_P_TOLERANCE = 2e-3
DRAWS = 4


def check_robin(path: Path, device: str | None = None) -> list[Check]:
    """Compare bins and densities of every peptide of a file, on a device; and our draws with our densities of them.

    Raises DamagedFile, KeyError or ValueError for a file that is not of this kind, WeightsError for weights that do not
    fit what the file says of itself.
    """
    arrays = read_arrays(path)
    meta = json.loads(str(arrays["meta"]))
    state = {
        n.removeprefix("state/"): torch.from_numpy(a) for n, a in arrays.items() if n.startswith("state/")
    }
    config = RobinConfig(**{name: meta[name] for name in meta if name in RobinConfig.model_fields})
    network = from_published(state, config, str(path)).to(choose_device(device))
    checks = []
    with torch.no_grad():
        for sequence in meta["sequences"]:
            known = network.known(Peptide.from_sequence(sequence).topology)
            checks += _densities(network, known, sequence, arrays)
            checks.append(_draws(network, known, sequence))
    return checks


def _densities(network: Network, known: Known, sequence: str, arrays: dict[str, Any]) -> list[Check]:
    config = network.config
    x = torch.from_numpy(arrays[f"{sequence}/x"]).double().to(known.start.device)
    bins = to_bins(x.flatten(1), config)
    log_p = log_density(network, known, x) + bins.shape[1] * log_width_nm(config)
    tokens = log_probabilities(network, known, bins)
    different = (bins.cpu().numpy() != arrays[f"{sequence}/bins"]).sum()
    return [
        Check(f"{sequence} bins", float(different), 0.0),
        Check(
            f"{sequence} log_p of tokens", _error(tokens, arrays[f"{sequence}/log_p_tokens"]), TOKEN_TOLERANCE
        ),
        Check(f"{sequence} log_p", _error(log_p, arrays[f"{sequence}/log_p"]), LOG_P_TOLERANCE),
    ]


def _draws(network: Network, known: Known, sequence: str) -> Check:
    """Draws, token by token, have the density that all tokens at once give them."""
    uniforms = np.random.default_rng(0).random((DRAWS, len(known.start) // 3, 3, 2))
    u, log_q = draw(network, known, torch.as_tensor(uniforms, device=known.start.device))
    return Check(
        f"{sequence} density of draws",
        _error(log_density(network, known, u), log_q.cpu().numpy()),
        LOG_P_TOLERANCE,
    )


def _error(ours: Tensor, theirs: np.ndarray) -> float:
    """Largest absolute difference; NaN where anything is."""
    return float(np.abs(ours.double().cpu().numpy() - theirs).max())
