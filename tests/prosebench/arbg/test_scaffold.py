"""What is known of a peptide before any coordinate, against its bonds."""

from collections import deque

import numpy as np
import pytest

from prosebench.arbg.scaffold import FAR_BONDS, MIDDLE_PLACE, N_KEYS, TWINS, Scaffold
from prosebench.frames.geometry import neighbours

from .conftest import peptide_of, scaffold_of


def distances(sequence: str) -> np.ndarray:
    """Bonds between all atoms, in the topology's order, by walking."""
    bonded = neighbours(peptide_of(sequence).topology)
    apart = np.full((len(bonded), len(bonded)), -1)
    for start in range(len(bonded)):
        apart[start, start], queue = 0, deque([start])
        while queue:
            here = queue.popleft()
            for there in bonded[here]:
                if apart[start, there] < 0:
                    apart[start, there] = apart[start, here] + 1
                    queue.append(there)
    return apart


def test_bonds_apart_are_counted_up_to_the_far_ones(sequence: str) -> None:
    scaffold = scaffold_of(sequence)
    order = scaffold.order.numpy()
    expected = np.minimum(distances(sequence)[np.ix_(order, order)], FAR_BONDS)
    np.testing.assert_array_equal(scaffold.bonds_apart.numpy(), expected)


def test_an_atom_is_placed_on_a_bond_seen_along_bonds(sequence: str) -> None:
    scaffold = scaffold_of(sequence)
    apart = scaffold.bonds_apart.numpy()
    ranks = np.arange(3, scaffold.n_atoms)
    parent, behind, beside = (
        array.numpy()[3:] for array in (scaffold.parent, scaffold.behind, scaffold.beside)
    )
    assert (apart[ranks, parent] == 1).all()
    # An atom that closes a ring sees both of its neighbours.
    assert (np.minimum(apart[parent, behind], apart[ranks, behind]) == 1).all()
    assert (np.minimum(apart[beside, parent], apart[beside, behind]) == 1).all()
    for other in (parent, behind, beside):
        assert (other < ranks).all()


def test_levels_hold_every_atom_once_after_all_that_it_is_seen_from(sequence: str) -> None:
    scaffold = scaffold_of(sequence)
    placed = {0, 1, 2}
    for level in scaffold.levels:
        for rank in level.tolist():
            assert {int(one[rank]) for one in (scaffold.parent, scaffold.behind, scaffold.beside)} <= placed
        assert not placed & set(level.tolist())
        placed |= set(level.tolist())
    assert placed == set(range(scaffold.n_atoms))
    # Side by side, not one after the other.
    assert len(scaffold.levels) < scaffold.n_atoms / 2


def test_the_context_is_of_atoms_that_were_placed_before_and_each_once(sequence: str) -> None:
    scaffold = scaffold_of(sequence)
    for rank, seen in enumerate(scaffold.context.tolist()):
        there = [one for one in seen if one < scaffold.n_atoms]
        assert len(set(there)) == len(there)
        assert all(one < rank for one in there)
        if rank > 2:
            assert seen[:3] == [int(one[rank]) for one in (scaffold.parent, scaffold.behind, scaffold.beside)]
            near = scaffold.bonds_apart[scaffold.parent[rank], :rank]
            sisters = [one for one, bonds in enumerate(near.tolist()) if bonds == 1 and one not in seen[:3]]
            assert seen[3] == max(sisters, default=scaffold.n_atoms)


@pytest.mark.parametrize(
    ("sequence", "ends"), [("GG", {"GLY1": 1, "GLY2": 2}), ("PHC", {"PRO1": 1, "HIS2": 0, "CYS3": 2})]
)
def test_codes_of_ends_and_places(sequence: str, ends: dict[str, int]) -> None:
    scaffold, topology = scaffold_of(sequence), peptide_of(sequence).topology
    residues = [str(topology.atom(int(index)).residue) for index in scaffold.order]
    assert {name: int(code) for name, code in zip(residues, scaffold.ends, strict=True)} == ends
    assert int(scaffold.place[0]) == MIDDLE_PLACE
    place = {name: int(code) for name, code in zip(residues, scaffold.place, strict=True)}
    assert sorted(place.values()) == list(range(min(place.values()), min(place.values()) + len(sequence)))


def test_hydrogens_of_a_group_are_told_apart(sequence: str) -> None:
    scaffold = scaffold_of(sequence)
    assert int(scaffold.twin.max()) < TWINS
    assert int(scaffold.key.max()) < N_KEYS
    groups = list(
        zip(
            scaffold.parent[3:].tolist(),
            scaffold.atom_type[3:].tolist(),
            scaffold.twin[3:].tolist(),
            strict=True,
        )
    )
    assert len(set(groups)) == len(groups)


def test_the_order_of_atoms_in_a_file_does_not_matter() -> None:
    one = scaffold_of("GG")
    again = Scaffold.of(peptide_of("GG").topology.copy())
    np.testing.assert_array_equal(one.key.numpy(), again.key.numpy())
    moved = one.to("cpu")
    assert len(moved.levels) == len(one.levels)
