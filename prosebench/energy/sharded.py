"""A target whose batches are shared out over ranks: the same numbers, sooner."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.target import (
    Description,
    LangevinResult,
    PhaseState,
    Stretch,
    Target,
)
from prosebench.ranks import Ranks


@dataclass(frozen=True)
class ShardedTarget:
    """Every rank asks for the same, computes its share of frames or replicas, and gets the whole result.

    The result is that of `target` on one rank, bit for bit, where a frame's energy does not depend on the batch it
    is in: so it is for the native kernel, and for dynamics on OpenMM.
    """

    target: Target
    ranks: Ranks

    @property
    def n_atoms(self) -> int:
        """The number of atoms in a frame."""
        return self.target.n_atoms

    @property
    def temperature_kelvin(self) -> float:
        """Temperature at which energies are reduced."""
        return self.target.temperature_kelvin

    def energy(self, frames_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reduced energies (n,) in kT of frames (n, atoms, 3) in nm; inf where not finite."""
        return np.concatenate(
            self.ranks.map(lambda share: self.target.energy(frames_nm[share]), self._shares(len(frames_nm)))
        )

    def energy_and_gradient(
        self, frames_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies (n,) in kT and gradients (n, atoms, 3) in kT/nm; gradient 0 where the energy is inf."""
        parts = self.ranks.map(
            lambda share: self.target.energy_and_gradient(frames_nm[share]), self._shares(len(frames_nm))
        )
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def langevin(self, state: PhaseState, stretch: Stretch) -> LangevinResult:
        """See `Target.langevin`: a replica's random numbers follow its number, whichever rank it is on."""
        temperatures = stretch.temperatures_kelvin

        def advance(share: slice) -> LangevinResult:
            here = replace(
                stretch,
                first_replica=stretch.first_replica + share.start,
                temperatures_kelvin=None if temperatures is None else temperatures[share],
            )
            return self.target.langevin(
                PhaseState(state.positions_nm[share], state.velocities_nm_ps[share]), here
            )

        parts = self.ranks.map(advance, self._shares(len(state.positions_nm)))
        return LangevinResult(
            PhaseState(
                np.concatenate([part.state.positions_nm for part in parts]),
                np.concatenate([part.state.velocities_nm_ps for part in parts]),
            ),
            np.concatenate([part.frames_nm for part in parts], axis=1),
            np.concatenate([part.energies_kt for part in parts], axis=1),
            np.concatenate([part.failed for part in parts]),
        )

    def describe(self) -> Description:
        """What the target says: how many ranks there are decides no number."""
        return self.target.describe()

    def _shares(self, number: int) -> list[slice]:
        """The frames in shares of neighbours, as equal as possible; one empty share where there are no
        frames."""
        ends = np.linspace(0, number, max(1, min(self.ranks.size, number)) + 1).astype(int).tolist()
        return [slice(first, end) for first, end in pairwise(ends)]
