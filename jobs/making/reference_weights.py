"""Log-weights that flows give to the frames of references: they tell whether the weights of proposals miss a state.

Records alone cannot say: they hold densities of proposals, and a state that no proposal has reached is in none of them.
The density of a reference frame takes the flow itself, so it is computed here, and stands in the run folder for scores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prosebench.flows.weight_files import WeightsError
from prosebench.method import load_method
from prosebench.record import cell_folders, read_cell, reference_weights_path
from prosebench.reference import Reference, known_reference
from prosebench.store.storage import DamagedFile, write_arrays

MOST_FRAMES = 4_000
"""Frames of a reference whose densities are computed: enough for a share of a tenth of a percent."""

MOST_PARAMETERS = 20_000_000
"""Parameters of the largest flow whose densities are computed on a CPU: a report must not take hours."""


def _takes_long(flow: Any) -> bool:
    size = sum(parameter.numel() for parameter in flow.network.parameters())
    return size > MOST_PARAMETERS and str(flow.device).startswith("cpu")


def write_reference_weights(directory: Path, reference_folders: Sequence[Path]) -> list[Path]:
    """Write what lacks (`reference_weights_path`) for the finished cells of a run folder; returns the new files.

    Left out are methods without a density of given frames, cells without a reference of their temperature, flows whose
    weights are not here, and flows of more than MOST_PARAMETERS where there is no accelerator.
    """
    written = []
    for folder in cell_folders(directory):
        if not (folder / "ensemble.npz").exists():
            continue
        try:
            cell = read_cell(folder)
            kind = load_method(cell.method)
            if not hasattr(kind, "frame_log_weights"):
                continue
            kelvin = cell.target.temperature_kelvin
            found = known_reference(cell.peptide, reference_folders, kelvin)
            reference = Reference.load(found) if found else None
            if reference is None or reference.temperature_kelvin != kelvin:
                continue
            path = reference_weights_path(directory, cell, reference.hash)
            if path.exists():
                continue
            frames = reference.scored.select(slice(0, min(cell.frames, MOST_FRAMES)))
            method: Any = kind(kind.Settings(**cell.settings))
            if _takes_long(method.settings.load()):
                continue
            weights = method.frame_log_weights(reference.peptide, frames, kelvin)
        except (DamagedFile, WeightsError, ValueError):
            continue
        if weights is not None:
            write_arrays(path, {"log_weights": weights})
            written.append(path)
    return written
