"""Heavier hydrogens: masses decide how long a step of dynamics may be, and not where atoms are found.

The fastest motions of a molecule are those of its hydrogens. With some mass of the bonded heavy atom moved to each of
them, a step may be twice as long (hydrogen mass repartitioning: Feenstra, Hess and Berendsen, J. Comput. Chem. 1999,
20, 786).
"""

import numpy as np
from numpy.typing import NDArray

from prosebench.peptide import Peptide

HYDROGEN_BELOW_DALTON = 1.5
"""An atom with a mass below this, in dalton, is a hydrogen."""


def masses_dalton(peptide: Peptide, hydrogen_mass_dalton: float | None = None) -> NDArray[np.float64]:
    """Masses (atoms,) of a peptide, with hydrogens of the given mass, or of their own where it is None."""
    elements = np.array([atom.element.mass for atom in peptide.topology.atoms])
    bonds = np.array([[a.index, b.index] for a, b in peptide.topology.bonds])
    return repartitioned(elements, bonds, hydrogen_mass_dalton)


def repartitioned(
    masses: NDArray[np.float64], bonds: NDArray[np.integer], hydrogen_mass_dalton: float | None
) -> NDArray[np.float64]:
    """Masses (atoms,) in dalton in which each hydrogen has the given mass, taken from the heavy atom it is bonded to.

    bonds (k, 2) are pairs of atoms. Raises ValueError where a heavy atom would have less than its hydrogens.
    """
    if hydrogen_mass_dalton is None:
        return masses
    changed, is_hydrogen = masses.copy(), masses < HYDROGEN_BELOW_DALTON
    for pair in bonds:
        for hydrogen, heavy in (pair, pair[::-1]):
            if is_hydrogen[hydrogen] and not is_hydrogen[heavy]:
                changed[heavy] -= hydrogen_mass_dalton - masses[hydrogen]
                changed[hydrogen] = hydrogen_mass_dalton
    if (changed[~is_hydrogen] < hydrogen_mass_dalton).any():
        raise ValueError(
            f"with hydrogens of {hydrogen_mass_dalton:g} dalton a heavy atom is left with less; give 3 or less"
        )
    return changed
