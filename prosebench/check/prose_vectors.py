"""Comparison of the flow with stored numbers (`prose_*.npz`, `tarflow_*.npz`)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prosebench.check.comparison import Check
from prosebench.flows.device import choose_device
from prosebench.flows.molecule.tokens import Tokens
from prosebench.peptide import Peptide
from prosebench.prose.config import ProseConfig
from prosebench.prose.inverse import inverse
from prosebench.prose.network import Network
from prosebench.prose.weights import from_published
from prosebench.store.storage import read_arrays

POSITION_TOLERANCE = 2e-4
LOG_DET_TOLERANCE = 2e-3


def check_prose(path: Path, device: str | None = None) -> list[Check]:
    """Compare both directions of a flow with adaptive conditions, for every peptide of a file, on a device.

    Raises DamagedFile, KeyError or ValueError for a file that is not of this kind, WeightsError for weights
    that do not fit what the file says of itself.
    """
    return _check(path, device)


def check_tarflow(path: Path, device: str | None = None) -> list[Check]:
    """Compare both directions of a plain TarFlow (additive condition), as `check_prose` does for Prose."""
    return _check(path, device)


def _check(path: Path, device: str | None) -> list[Check]:
    arrays = read_arrays(path)
    meta = json.loads(str(arrays["meta"]))
    state = {
        n.removeprefix("state/"): torch.from_numpy(a) for n, a in arrays.items() if n.startswith("state/")
    }
    network = from_published(state, config_of(meta, state), str(path))
    device = choose_device(device)
    network.to(device)
    with torch.no_grad():
        checks = _padded(network, meta, arrays, device)
        for sequence in meta["sequences"]:
            checks += _both_ways(network, sequence, arrays, device)
    return checks


def config_of(meta: dict[str, Any], state: dict[str, Tensor]) -> ProseConfig:
    """The config of a conformance file, from what it says of itself and from the names of its weights."""
    adaptive = meta["conditioning"] != "tarflow"
    return ProseConfig(
        channels=meta["channels"],
        head_dim=meta["head_dim"],
        blocks=meta["blocks"],
        layers_per_block=meta["layers_per_block"],
        conditioning="adaptive" if adaptive else "additive",
        transition=any(".transition." in name for name in state),
        lookahead="blocks.0.proj_cond.0.weight" in state,
        orders=tuple(meta["permutation_keys"]),
        residue_sinusoid_base=meta["residue_sinusoid_base"],
        position_sinusoid_base=meta["position_sinusoid_base"],
    )


def _padded(network: Network, meta: dict[str, Any], arrays: dict[str, Any], device: str) -> list[Check]:
    topologies = [Peptide.from_sequence(sequence).topology for sequence in meta["sequences"]]
    tokens = Tokens.of(topologies, network.config.block_orders, meta["padded_length"]).to(device)
    x = torch.from_numpy(arrays["padded/x"]).to(device)
    z, log_det = network(x, tokens)
    mask = (tokens.mask.cpu().numpy() != arrays["padded/mask"]).sum()
    return [
        Check("padded mask", float(mask), 0.0),
        Check("padded z", _error(z, arrays["padded/z"]), POSITION_TOLERANCE),
        Check("padded log_det", _error(log_det, arrays["padded/log_det"]), LOG_DET_TOLERANCE),
    ]


def _both_ways(network: Network, sequence: str, arrays: dict[str, Any], device: str) -> list[Check]:
    stored = {
        name: arrays[f"inverse/{sequence}/{name}"]
        for name in ("z", "x", "log_det_inverse", "log_det_forward")
    }
    tokens = Tokens.of([Peptide.from_sequence(sequence).topology], network.config.block_orders).to(device)
    x, log_det_inverse = inverse(network, torch.from_numpy(stored["z"]).to(device), tokens)
    z, log_det_forward = network(torch.from_numpy(stored["x"]).to(device), tokens)
    return [
        Check(f"{sequence} x", _error(x, stored["x"]), POSITION_TOLERANCE),
        Check(f"{sequence} z", _error(z, stored["z"]), POSITION_TOLERANCE),
        Check(
            f"{sequence} log_det inverse",
            _error(log_det_inverse, stored["log_det_inverse"]),
            LOG_DET_TOLERANCE,
        ),
        Check(
            f"{sequence} log_det forward",
            _error(log_det_forward, stored["log_det_forward"]),
            LOG_DET_TOLERANCE,
        ),
    ]


def _error(ours: Tensor, theirs: np.ndarray) -> float:
    """Largest absolute difference; NaN where anything is."""
    return float(np.abs(ours.double().cpu().numpy() - theirs).max())
