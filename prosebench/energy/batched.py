"""The target for whole batches: the same physics as OpenMM, by the native kernel or on a GPU."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.native import NativeEnergy
from prosebench.energy.parameters.terms import EnergyParameters, read_parameters
from prosebench.energy.target import (
    Description,
    LangevinResult,
    PhaseState,
    Stretch,
    check_frames,
    kt_kj_mol,
)
from prosebench.energy.warp import make_warp_energy
from prosebench.peptide.force_field import ForceField

if TYPE_CHECKING:
    from prosebench.energy.warp.engine import WarpEnergy
    from prosebench.peptide import Peptide

EnergyPath = Literal["auto", "native", "warp"]
PRECISIONS = ("single", "double")


class BatchedEnergy:
    """Energies, gradients and Langevin dynamics of a peptide for batches of frames.

    path "native" is the C++ kernel on a CPU; "warp" is the same physics with the same random numbers on a GPU, or, for
    tests, on one thread of a CPU; "auto" is native on device "cpu" and warp on "cuda". Precision "single" means single
    arithmetic with energies summed in double; "double" is for checks, by the native kernel alone. Raises
    UnsupportedForce for a System that the path cannot represent (then use OpenMMEnergy), NativeUnavailable or
    WarpUnavailable where the path is not to be had.
    """

    def __init__(
        self,
        peptide: "Peptide",
        temperature_kelvin: float = 310.0,
        *,
        force_field: ForceField | None = None,
        path: EnergyPath = "auto",
        precision: str = "single",
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        _check(path, get_args(EnergyPath))
        _check(precision, PRECISIONS)
        self.n_atoms = peptide.n_atoms
        self.temperature_kelvin = temperature_kelvin
        self.precision, self.threads, self.device = precision, threads, device
        self._scale = 1.0 / kt_kj_mol(temperature_kelvin)
        parameters = read_parameters(peptide.system(force_field or ForceField()))
        self._engine = self._make_engine(parameters, path)

    def _make_engine(self, parameters: EnergyParameters, path: EnergyPath) -> "NativeEnergy | WarpEnergy":
        if path == "warp" or (path == "auto" and self.device != "cpu"):
            if self.precision != "single":
                raise ValueError(
                    "on path 'warp' energies are in precision 'single'; path 'native' has 'double' too"
                )
            return make_warp_energy(parameters, self.device)
        if self.device != "cpu":
            raise ValueError(f"the native kernel runs on the CPU; for device {self.device!r} use path='warp'")
        return NativeEnergy(parameters, self.threads, "double" if self.precision == "double" else "single")

    def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reduced energies (n,) in kT of frames (n, atoms, 3) in nm; inf where not finite."""
        return self._engine.energy(check_frames(frames_nm, self.n_atoms), scale=self._scale)

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies (n,) in kT and gradients (n, atoms, 3) in kT/nm; gradient 0 where the energy is inf."""
        return self._engine.energy_and_gradient(check_frames(frames_nm, self.n_atoms), scale=self._scale)

    def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
        """See `Target.langevin`. Both paths draw the same random numbers; only rounding parts them."""
        return self._engine.langevin(state, stretch, scale=self._scale)

    def describe(self) -> Description:
        """Engine, path and precision, and the GPU where it is one, for the record.

        The CPU's instruction set decides no bit of a number.
        """
        common: Description = {"engine": "batched", "precision": self.precision}
        if isinstance(self._engine, NativeEnergy):
            return common | {"path": "native"}
        return common | {
            "path": "warp",
            "device": self.device,
            "hardware": self._engine.hardware,
            "version": self._engine.version,
        }


def _check(value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"unknown choice {value!r}; known: {', '.join(choices)}")
