import gzip
import json
from functools import cache
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prosebench.check.order_vectors import check_atom_orders
from prosebench.flows.molecule.orders import ORDER_KEYS, atom_order
from prosebench.peptide import Peptide

TABLES = Path(__file__).parents[3] / "conformance" / "atom_orders.json"
ALL = "ACDEFGHIKLMNPQRSTVWY"
topology_of = cache(lambda sequence: Peptide.from_sequence(sequence).topology)


def test_published_orders_and_codes():
    checks = check_atom_orders(TABLES)
    assert [check.quantity for check in checks if not check.passed] == []
    assert {f"order {key}" for key in ORDER_KEYS} <= {check.quantity for check in checks}


def test_block_order_is_the_published_one():
    assert tuple(json.loads(TABLES.read_text())["ARIP"]["orders"]) == ORDER_KEYS


def test_differences_are_counted_and_named(tmp_path):
    tables = {key: json.loads(TABLES.read_text())[key] for key in ("AA", "PG")}
    order = tables["PG"]["orders"][ORDER_KEYS[0]]
    order[0], order[1] = order[1], order[0]
    tables["AA"]["atom_type"].append(1)
    path = tmp_path / "atom_orders_bad.json.gz"
    path.write_bytes(gzip.compress(json.dumps(tables).encode()))
    failed = {check.quantity: check.error for check in check_atom_orders(path) if not check.passed}
    assert failed == {"atom_type (AA)": 1.0, f"order {ORDER_KEYS[0]} (PG)": 2.0}


@settings(max_examples=15, deadline=None)
@given(st.text(ALL, min_size=2, max_size=20))
def test_orders_are_permutations_and_flips_are_flips(sequence):
    topology = topology_of(sequence)
    for key in ORDER_KEYS:
        order = atom_order(topology, key)
        assert sorted(order) == list(range(topology.n_atoms))
        if key.endswith("_flip"):
            np.testing.assert_array_equal(order[::-1], atom_order(topology, key.removesuffix("_flip")))


@pytest.mark.parametrize("letter", ALL)
def test_every_residue_in_every_place(letter):
    topology = topology_of(3 * letter)
    for key in ORDER_KEYS:
        order = atom_order(topology, key).tolist()
        assert sorted(order) == list(range(topology.n_atoms))
        atoms = [topology.atom(i) for i in (reversed(order) if key.endswith("_flip") else order)]
        residues = [
            atom.residue.index for atom in atoms if "backbone" not in key or atom.name not in BACKBONE
        ]
        assert residues == sorted(residues)
        rank = {atom.index: place for place, atom in enumerate(atoms)}
        for one, other in topology.bonds:  # a hydrogen comes after its heavy atom
            if other.element.symbol == "H":
                assert rank[other.index] > rank[one.index]


BACKBONE = {"N", "CA", "C", "O", "OXT"}


def test_orders_go_by_names_and_not_by_the_order_of_atoms():
    topology = topology_of("TWH")
    rng = np.random.default_rng(0)
    shuffled = mdtraj.Topology()
    chain = shuffled.add_chain()
    for residue in topology.residues:
        copy = shuffled.add_residue(residue.name, chain, resSeq=residue.resSeq)
        for atom in rng.permutation(np.array(list(residue.atoms), dtype=object)):
            shuffled.add_atom(atom.name, atom.element, copy)
    for key in ORDER_KEYS:
        names = [str(topology.atom(i)) for i in atom_order(topology, key)]
        assert [str(shuffled.atom(i)) for i in atom_order(shuffled, key)] == names


def test_unknown_keys_and_other_molecules_are_refused():
    with pytest.raises(ValueError, match=r"'c2n'.*n2c_backbone-first_standard"):
        atom_order(topology_of("AA"), "c2n")
    water = mdtraj.Topology()
    residue = water.add_residue("HOH", water.add_chain())
    water.add_atom("O", mdtraj.element.oxygen, residue)
    with pytest.raises(ValueError, match="HOH0 is not one of the 20"):
        atom_order(water, ORDER_KEYS[0])
