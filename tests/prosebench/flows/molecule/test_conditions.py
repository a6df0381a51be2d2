import mdtraj
import numpy as np
import pytest

from prosebench.flows.molecule.conditions import ATOM_TYPES, RESIDUE_TYPES, atom_type_names, conditions
from prosebench.peptide import Peptide

ALL = "ACDEFGHIKLMNPQRSTVWY"


def test_types_are_numbered_alphabetically_and_all_used():
    assert list(ATOM_TYPES) == sorted(ATOM_TYPES)
    assert list(RESIDUE_TYPES) == sorted(RESIDUE_TYPES)
    used = {name for residue in RESIDUE_TYPES for name in atom_type_names(residue).values()}
    assert used == set(ATOM_TYPES)
    assert (len(ATOM_TYPES), len(RESIDUE_TYPES)) == (54, 20)


@pytest.mark.parametrize("letter", ALL)
def test_codes_of_every_residue_in_every_place(letter):
    topology = Peptide.from_sequence(3 * letter).topology
    codes = conditions(topology)
    assert codes.atom_type.min() >= 1
    assert codes.atom_type.max() <= 54
    assert np.unique(codes.residue_type).size == 1
    assert codes.residue_position.tolist() == [atom.residue.index + 1 for atom in topology.atoms]
    assert codes.length.tolist() == [3]
    per_residue = [{}, {}, {}]
    for atom, code in zip(topology.atoms, codes.atom_type, strict=True):
        per_residue[atom.residue.index][atom.name] = code
    for name, code in per_residue[1].items():  # the codes do not depend on the place
        assert per_residue[0].get(name, code) == per_residue[2].get(name, code) == code


def test_codes_follow_the_atoms():
    topology = Peptide.from_sequence("HT").topology
    order = np.random.default_rng(0).permutation(19)
    shuffled = topology.subset(range(topology.n_atoms))
    shuffled.residue(0)._atoms = [
        shuffled.residue(0)._atoms[i] for i in order if i < shuffled.residue(0).n_atoms
    ]
    names = {
        (a.residue.index, a.name): c
        for a, c in zip(topology.atoms, conditions(topology).atom_type, strict=True)
    }
    for atom, code in zip(shuffled.atoms, conditions(shuffled).atom_type, strict=True):
        assert names[atom.residue.index, atom.name] == code


def test_other_molecules_are_refused():
    topology = mdtraj.Topology()
    residue = topology.add_residue("HOH", topology.add_chain())
    topology.add_atom("O", mdtraj.element.oxygen, residue)
    with pytest.raises(ValueError, match="HOH0-O has no atom type"):
        conditions(topology)
