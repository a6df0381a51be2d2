"""Hydrogens that are the same to the force field, with labels of one handedness.

Which of a carbon's two hydrogens is called HB2 depends on how a structure was built, and dynamics do not exchange them;
the three of a methyl or an ammonium group turn, and keep their order. Energies do not know the labels, so that a flow
that is trained on one handedness has weights as right as any, and half as many shapes to learn for each such group. A
draw of the other hand would be as valid, and rare, and heavy. The hand is a convention of ours, not IUPAC's. Planar
groups (amides, guanidinium, rings) are left alone: dynamics exchange their labels.
"""

import mdtraj
import numpy as np
from numpy.typing import NDArray


def equivalent_hydrogens(topology: mdtraj.Topology) -> NDArray[np.int64]:
    """(groups, 5): an atom of four neighbours of which two or three are hydrogens, and the four, heavy atoms first."""
    neighbours: list[list[int]] = [[] for _ in range(topology.n_atoms)]
    for one, other in topology.bonds:
        neighbours[one.index].append(other.index)
        neighbours[other.index].append(one.index)
    is_hydrogen = [atom.element.symbol == "H" for atom in topology.atoms]
    sorted_neighbours = [sorted(some, key=lambda i: (is_hydrogen[i], i)) for some in neighbours]
    groups = [
        (atom, *four)
        for atom, four in enumerate(sorted_neighbours)
        if len(four) == 4 and is_hydrogen[four[2]]
    ]
    return np.array(groups, dtype=np.int64).reshape(-1, 5)


def one_handed(frames: NDArray[np.floating], groups: NDArray[np.int64]) -> NDArray[np.floating]:
    """Frames (n, atoms, 3) in which the last two of a group are exchanged where the first three are left-handed."""
    centre, first, second, third, fourth = groups.T
    arms = [frames[:, i] - frames[:, centre] for i in (first, second, third)]
    volumes = (arms[0] * np.cross(arms[1], arms[2])).sum(axis=-1)
    row, group = np.nonzero(volumes < 0)
    changed = frames.copy()
    changed[row, third[group]] = frames[row, fourth[group]]
    changed[row, fourth[group]] = frames[row, third[group]]
    return changed
