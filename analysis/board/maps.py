"""What the page of a peptide draws, as small numbers: energy histograms, Ramachandran and TICA maps, populations.

A map is BINS strings of BINS digits, the top line first: free energy in whole kT above the most populated bin, "."
where it is above MOST_KT or where no frame was seen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figures.peptide import Axis, angle_pairs, free_energy, pair_names, span
from analysis.figures.peptide_data import PeptideData, find_cores, find_states
from analysis.figures.peptide_page import page_numbers

BINS = 40
MOST_KT = 6
ENERGY_BINS = 48
_SMOOTHING_BINS = 0.8
_TAIL = 0.001
Floats = NDArray[np.floating]
Range = tuple[float, float]


def peptide_drawings(data: PeptideData, said: str) -> dict[str, Any]:
    """Numbers of `analysis.figures.peptide_page.page_numbers` with `energy`, `ramachandran` and `tica`, all seeds of a
    row together.

    Maps are of each row at its largest budget; a dipeptide has one Ramachandran map (phi of residue 2, psi of
    residue 1), a longer peptide one for each inner residue.
    """
    cores = find_cores(data.walk(data.truth))
    made = page_numbers(data, find_states(data), cores, said)
    largest = {
        sample.row: max(other.budget for other in data.samples if other.row == sample.row)
        for sample in data.samples
    }
    mapped = [sample for sample in data.samples if sample.budget == largest[sample.row]]
    frames = {(sample.row, sample.budget): sample.ensemble for sample in mapped}
    angles = {key: angle_pairs(ensemble, data.topology) for key, ensemble in frames.items()}
    truth = angle_pairs(data.truth, data.topology)
    circle = (-180.0, 180.0)
    made["ramachandran"] = [
        {"phi": phi, "psi": psi}
        | _maps(truth[i], {key: of[i] for key, of in angles.items()}, circle, circle, periodic=True)
        for i, (phi, psi) in enumerate(pair_names(data.sequence))
    ]
    components = data.components(data.truth)
    x, y = (span(values) for values in components.T)
    projected = {key: data.components(ensemble) for key, ensemble in frames.items()}
    made["tica"] = {"x": _short(x), "y": _short(y)} | _maps(components, projected, x, y, periodic=False)
    made["energy"] = _energies(data)
    return made


def free_energy_digits(points: Floats, x: Range, y: Range, *, periodic: bool) -> list[str]:
    """A map (see the head of this file) of points (n, 2); those outside of the ranges are left out."""
    across, up = (Axis(low, high, BINS, "", periodic) for low, high in (x, y))
    energies = np.floor(free_energy(points, across, up, _SMOOTHING_BINS) + 1e-9)
    lines = np.where(energies <= MOST_KT, energies, -1.0).astype(int).T[::-1]
    return ["".join("." if value < 0 else str(value) for value in line) for line in lines]


def _maps(
    truth: Floats, of_rows: Mapping[tuple[str, int], Floats], x: Range, y: Range, *, periodic: bool
) -> dict[str, Any]:
    rows = []
    for (row, budget), points in of_rows.items():
        inside = np.isfinite(points).all(axis=1)
        for values, (low, high) in zip(points.T, (x, y), strict=True):
            inside &= (values >= low) & (values <= high)
        grid = free_energy_digits(points[inside], x, y, periodic=periodic)
        outside = round(float(1.0 - inside.mean()), 4)
        rows.append({"row": row, "budget": budget, "frames": len(points), "outside": outside, "map": grid})
    return {"reference": free_energy_digits(truth, x, y, periodic=periodic), "rows": rows}


def _energies(data: PeptideData) -> dict[str, Any]:
    """The shares of frames (in units of 1e-4) in bins that span the reference and half its width on each
    side."""
    low, high = np.quantile(data.truth.energies_kt, [_TAIL, 1.0 - _TAIL])
    edges = np.linspace(1.5 * low - 0.5 * high, 1.5 * high - 0.5 * low, ENERGY_BINS + 1)
    rows = []
    for sample in data.samples:
        energies = sample.ensemble.energies_kt
        shares = _shares(energies, edges)
        rows.append(
            {
                "row": sample.row,
                "budget": sample.budget,
                "shares": shares,
                "outside": round(1.0 - sum(shares) / 1e4, 3),
                "not_finite": int((~np.isfinite(energies)).sum()),
            }
        )
    return {
        "range": _short((edges[0], edges[-1])),
        "reference": _shares(data.truth.energies_kt, edges),
        "rows": rows,
    }


def _shares(energies: Floats, edges: Floats) -> list[int]:
    counts, _ = np.histogram(energies[np.isfinite(energies)], edges)
    return [round(1e4 * int(count) / max(len(energies), 1)) for count in counts]


def _short(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
