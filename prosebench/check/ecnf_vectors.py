"""Comparison of the velocity field and its divergence with stored numbers (`ecnf_*.npz`)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prosebench.check.comparison import Check
from prosebench.ecnf.config import EcnfConfig
from prosebench.ecnf.divergence import velocity_and_divergence
from prosebench.ecnf.nodes import Nodes
from prosebench.ecnf.weights import from_published
from prosebench.peptide import Peptide
from prosebench.store.storage import read_arrays

TOLERANCE = 1e-6
"""The largest allowed error of a quantity in float64, as a share of its largest number."""


def check_ecnf(path: Path, device: str | None = None) -> list[Check]:
    """Compare velocities and exact divergences of every peptide and time of a file, in float64 on a device.

    An error is the largest difference over the largest stored number. Raises DamagedFile, KeyError or ValueError for a
    file that is not of this kind, WeightsError for weights that do not fit what the file says of itself.
    """
    arrays = read_arrays(path)
    meta = json.loads(str(arrays["meta"]))
    state = {
        n.removeprefix("state/"): torch.from_numpy(a) for n, a in arrays.items() if n.startswith("state/")
    }
    config = EcnfConfig(**{key: meta[key] for key in ("channels", "layers", "residues_min", "residues_max")})
    field = from_published(state, config, str(path)).to(device or "cpu", torch.float64)
    checks: list[Check] = []
    for place in sorted(name.removesuffix("/x") for name in arrays if name.endswith("/x")):
        sequence, time = place.split("/t")
        topology = Peptide.from_sequence(sequence).topology
        nodes = Nodes.of(topology, config).to(device or "cpu", torch.float64)
        x = torch.from_numpy(arrays[f"{place}/x"]).to(nodes.features)
        # Stored times are those that float32 can hold.
        t = torch.full((len(x),), float(np.float32(time)), dtype=torch.float64, device=x.device)
        with torch.no_grad():
            velocity, divergence = velocity_and_divergence(field, t, x, nodes)
        checks += [
            Check(
                f"{sequence} t = {time} velocity", _error(velocity, arrays[f"{place}/velocity"]), TOLERANCE
            ),
            Check(
                f"{sequence} t = {time} divergence",
                _error(divergence, arrays[f"{place}/divergence"]),
                TOLERANCE,
            ),
        ]
    return checks


def _error(ours: Tensor, theirs: np.ndarray[Any, Any]) -> float:
    """Largest difference, relative to the largest number; NaN where anything is."""
    return float(np.abs(ours.double().cpu().numpy() - theirs).max() / np.abs(theirs).max())
