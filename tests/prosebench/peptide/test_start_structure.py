"""What is wrong with a structure is found, whichever of its four faults it has."""

import random
from functools import cache
from itertools import pairwise

import mdtraj
import numpy as np
import pytest

from prosebench.frames.geometry import chirality_centers
from prosebench.peptide import Peptide
from prosebench.peptide.start_structure import _clash_fault, chirality_fault, extended, find_fault

peptide_of = cache(Peptide.from_sequence)


def place(peptide: Peptide, residue: int, name: str) -> int:
    return int(next(a.index for a in peptide.topology.residue(residue).atoms if a.name == name))


def test_a_minimised_peptide_has_no_fault_and_its_mirror_image_has_the_wrong_hand() -> None:
    peptide = peptide_of("ILT")
    start = np.array(peptide.start_nm)
    assert find_fault(peptide.topology, start) is None
    assert find_fault(peptide.topology, start * [1.0, 1.0, -1.0]) == "ILE1-CA has the wrong chirality"


def test_coordinates_that_are_not_finite_come_first() -> None:
    peptide = peptide_of("GG")
    broken = np.array(peptide.start_nm)
    broken[3, 1] = np.nan
    assert find_fault(peptide.topology, broken) == "some coordinates are not finite"


def test_a_torn_bond_is_named_with_its_length() -> None:
    peptide = peptide_of("GG")
    torn = np.array(peptide.start_nm)
    torn[place(peptide, 1, "OXT")] += [0.0, 0.0, 0.5]
    said = find_fault(peptide.topology, torn)
    assert said is not None
    assert said.startswith("the bond between GLY2-C and GLY2-OXT is 0.")


@pytest.mark.parametrize(("apart_nm", "clash"), [(0.10, True), (0.14, True), (0.16, False)])
def test_ends_of_a_chain_that_meet_are_a_clash_from_four_bonds_on(apart_nm: float, clash: bool) -> None:
    topology = mdtraj.Topology()
    residue = topology.add_residue("GLY", topology.add_chain())
    atoms = [topology.add_atom(f"C{i}", mdtraj.element.carbon, residue) for i in range(5)]
    for one, other in pairwise(atoms):
        topology.add_bond(one, other)
    # A zigzag of five atoms, the last of which is brought near the first.
    ring = np.array(
        [[0.0, 0.0, 0.0], [0.1, 0.11, 0.0], [0.25, 0.11, 0.0], [0.26, -0.03, 0.0], [0.0, 0.0, 0.0]]
    )
    ring[4] = [apart_nm, 0.0, 0.0]
    said = _clash_fault(topology, ring)
    assert said == (f"GLY0-C0 and GLY0-C4 are only {apart_nm:.3f} nm apart" if clash else None)


@pytest.mark.parametrize(("sequence", "centre"), [("GLG", "CG"), ("GVG", "CB")])
def test_two_like_methyl_groups_under_each_others_name_are_a_fault_of_names_alone(
    sequence: str, centre: str
) -> None:
    peptide = peptide_of(sequence)
    names = {"L": ("CD1", "CD2"), "V": ("CG1", "CG2")}[sequence[1]]
    one, other = (place(peptide, 1, name) for name in names)
    exchanged = np.array(peptide.start_nm)
    exchanged[[one, other]] = exchanged[[other, one]]
    said = chirality_fault(peptide.topology, exchanged)
    assert said is not None
    assert said.endswith(f"-{centre} has the wrong chirality")
    assert chirality_fault(peptide.topology, exchanged, prochiral=False) is None


def test_a_turned_peptide_bond_is_called_cis() -> None:
    peptide = peptide_of("GG")
    start = np.array(peptide.start_nm)
    carbon, nitrogen = place(peptide, 0, "C"), place(peptide, 1, "N")
    axis = start[nitrogen] - start[carbon]
    axis /= np.linalg.norm(axis)
    behind = [atom.index for atom in peptide.topology.residue(1).atoms if atom.index != nitrogen]
    turned = start.copy()
    # Half a turn about the bond: x -> 2 (x.a) a - x.
    relative = start[behind] - start[nitrogen]
    turned[behind] = start[nitrogen] + 2.0 * np.outer(relative @ axis, axis) - relative
    _, omega = mdtraj.compute_omega(mdtraj.Trajectory(turned[None], peptide.topology))
    assert abs(omega[0, 0]) < np.pi / 2
    assert find_fault(peptide.topology, turned) == "the peptide bond after residue 1 is cis"


def test_extended_chains_are_the_same_every_time_and_leave_pythons_random_numbers_alone() -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    topology, positions = extended("SWH")
    assert random.random() == expected
    again = extended("SWH")[1]
    np.testing.assert_array_equal(positions, again)
    hydrogens = [atom.name for atom in topology.atoms() if atom.residue.name == "HIS"]
    assert "HE2" in hydrogens
    assert "HD1" not in hydrogens


def test_every_natural_centre_is_looked_at() -> None:
    peptide = peptide_of("ILT")
    names = [str(peptide.topology.atom(int(index))) for index in chirality_centers(peptide.topology)[:, 0]]
    assert names == ["ILE1-CA", "ILE1-CB", "LEU2-CA", "LEU2-CG", "THR3-CA", "THR3-CB"]
    start = np.array(peptide.start_nm)
    for name in names:
        index = names.index(name)
        centre, *neighbours = (int(i) for i in chirality_centers(peptide.topology)[index])
        # Two neighbours change places: that centre alone has the other hand.
        swapped = start.copy()
        swapped[neighbours[:2]] = swapped[neighbours[1::-1]]
        assert chirality_fault(peptide.topology, swapped) is not None, (name, centre)
