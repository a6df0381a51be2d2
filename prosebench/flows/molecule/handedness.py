"""Hydrogens that are the same to the force field, with labels of one handedness.

Which of a carbon's two hydrogens is called HB2 depends on how a structure was built, and dynamics do not exchange them;
the three of a methyl or an ammonium group turn, and keep their order. Energies do not know the labels, so that a flow
that is trained on one handedness has weights as right as any, and half as many shapes to learn for each such group. A
draw of the other hand would be as valid, and rare, and heavy. The hand is a convention of ours, not IUPAC's. Planar
groups (amides, guanidinium, rings) are left alone: dynamics exchange their labels.
"""

from collections.abc import Sequence

import mdtraj
import numpy as np
from numpy.typing import NDArray

from prosebench.frames.geometry import chirality_signs, neighbours


def one_handed(frames: NDArray[np.floating], topologies: Sequence[mdtraj.Topology]) -> NDArray[np.floating]:
    """Frames (n, atoms, 3) of one topology, or of one a frame, with the labels of left-handed groups exchanged."""
    if len(topologies) == 1:
        return _exchanged(frames, equivalent_hydrogens(topologies[0]))
    groups = [equivalent_hydrogens(topology) for topology in topologies]
    return np.concatenate([_exchanged(frames[i : i + 1], of_one) for i, of_one in enumerate(groups)])


def equivalent_hydrogens(topology: mdtraj.Topology) -> NDArray[np.int64]:
    """(groups, 5): an atom of four neighbours of which two or three are hydrogens, and the four, heavy atoms first."""
    is_hydrogen = [atom.element.symbol == "H" for atom in topology.atoms]
    in_order = [sorted(some, key=lambda i: (is_hydrogen[i], i)) for some in neighbours(topology)]
    groups = [(atom, *four) for atom, four in enumerate(in_order) if len(four) == 4 and is_hydrogen[four[2]]]
    return np.array(groups, dtype=np.int64).reshape(-1, 5)


def _exchanged(frames: NDArray[np.floating], groups: NDArray[np.int64]) -> NDArray[np.floating]:
    """Frames in which the last two of a group are exchanged where the first three are left-handed."""
    third, fourth = groups[:, 3:].T
    row, group = np.nonzero(chirality_signs(frames, groups[:, :4]) < 0)
    changed = frames.copy()
    changed[row, third[group]] = frames[row, fourth[group]]
    changed[row, fourth[group]] = frames[row, third[group]]
    return changed
