"""The gate: before a cell starts, its target must give stored energies of stored frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.openmm import OpenMMEnergy
from prosebench.energy.target import Target, kt_kj_mol
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField

ABSOLUTE_TOLERANCE_KJ_MOL = 5e-3
RELATIVE_TOLERANCE = 5e-6

_SHAKES_NM = (0.0, 0.002, 0.005, 0.005, 0.01, 0.01)
"""Each frame of `make_gate` is the start structure with normal noise on every coordinate; this is the
standard deviation of the noise in nm, one number a frame. The first frame is the start structure itself. The
noise on the others is large enough to change every term of the energy."""


class GateClosed(RuntimeError):
    """The target of this machine does not give the stored energies, so nothing is run on it."""


@dataclass(frozen=True)
class Gate:
    """Frames (n, atoms, 3) in nm and their energies (n,) in kJ/mol on OpenMM's Reference platform."""

    frames_nm: NDArray[np.float64]
    energies_kj_mol: NDArray[np.float64]

    @property
    def allowed_kj_mol(self) -> NDArray[np.float64]:
        """How far in kJ/mol a target's energies (n,) may be from the stored ones."""
        return ABSOLUTE_TOLERANCE_KJ_MOL + RELATIVE_TOLERANCE * np.abs(self.energies_kj_mol)


def measure_gate(
    peptide: Peptide, frames_nm: NDArray[np.floating], force_field: ForceField | None = None
) -> Gate:
    """A gate of these frames: their energies by OpenMM's Reference platform, which computes in double precision."""
    reference = OpenMMEnergy(peptide, force_field=force_field, platform="Reference")
    energies = reference.energy(frames_nm) * kt_kj_mol(reference.temperature_kelvin)
    return Gate(np.asarray(frames_nm, dtype=np.float64), energies)


def make_gate(peptide: Peptide, force_field: ForceField) -> Gate:
    """A gate of a peptide: its start structure, shaken more and more strongly."""
    rng = np.random.default_rng(0)
    start = peptide.start_nm
    shaken = [start + rng.normal(scale=shake, size=start.shape) for shake in _SHAKES_NM]
    return measure_gate(peptide, np.array(shaken, dtype=np.float32), force_field)


def pass_gate(gate: Gate, target: Target) -> float:
    """The largest deviation in kJ/mol from the stored energies. Raises GateClosed where it is too large."""
    energies = target.energy(gate.frames_nm) * kt_kj_mol(target.temperature_kelvin)
    deviations = np.abs(energies - gate.energies_kj_mol)
    if not (deviations <= gate.allowed_kj_mol).all():
        worst = int(np.argmax(np.nan_to_num(deviations - gate.allowed_kj_mol, nan=np.inf)))
        raise GateClosed(
            f"the energy of stored frame {worst} is {energies[worst]:.6g} kJ/mol on {target.describe()}, but "
            f"{gate.energies_kj_mol[worst]:.6g} kJ/mol on OpenMM's Reference platform; "
            "run `prosebench doctor` on this machine, or choose another engine with --set target.engine=openmm"
        )
    return float(deviations.max())
