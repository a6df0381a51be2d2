import math

import numpy as np
import pytest
import torch

from prosebench.arbg.internal import LOG_ROTATIONS, log_volume, to_cartesian, to_internal
from prosebench.arbg.scaffold import FAR_BONDS
from prosebench.frames.geometry import random_rotations

from .conftest import scaffold_of, shaken


def test_there_and_back(sequence: str) -> None:
    scaffold, x = scaffold_of(sequence), shaken(sequence, 5)
    internal = to_internal(x, scaffold)
    back = to_cartesian(internal, scaffold)
    torch.testing.assert_close(torch.cdist(back, back), torch.cdist(x, x), atol=1e-7, rtol=0)
    torch.testing.assert_close(to_internal(back, scaffold), internal, atol=1e-9, rtol=0)


def test_place_and_orientation_have_no_part(sequence: str) -> None:
    scaffold, x = scaffold_of(sequence), shaken(sequence, 5)
    turns = torch.from_numpy(random_rotations(np.random.default_rng(1), 5))
    torch.testing.assert_close(to_internal(x @ turns + 3.0, scaffold), to_internal(x, scaffold))


def test_a_mirror_image_has_other_dihedrals(sequence: str) -> None:
    scaffold, x = scaffold_of(sequence), shaken(sequence, 1)
    mirrored, internal = to_internal(-x, scaffold), to_internal(x, scaffold)
    torch.testing.assert_close(mirrored[..., :2], internal[..., :2])
    torch.testing.assert_close(mirrored[:, 3:, 2].sin(), -internal[:, 3:, 2].sin())


def test_the_volume_is_that_of_the_jacobian() -> None:
    """|det| of the map from internal coordinates, a small rotation and a shift to all coordinates."""
    scaffold = scaffold_of("GG")
    internal = to_internal(shaken("GG", 1), scaffold)[0]
    there = torch.ones_like(internal, dtype=torch.bool)
    there[0], there[1, 1:], there[2, 2] = False, False, False

    def positions(numbers: torch.Tensor) -> torch.Tensor:
        shape = internal.clone()
        shape[there] = numbers[:-6]
        x = to_cartesian(shape[None], scaffold)[0]
        w = numbers[-6:-3]
        zero = torch.zeros_like(w[0])
        generator = torch.stack(
            [
                torch.stack([zero, -w[2], w[1]]),
                torch.stack([w[2], zero, -w[0]]),
                torch.stack([-w[1], w[0], zero]),
            ]
        )
        return (x @ torch.matrix_exp(generator).T + numbers[-3:]).ravel()

    numbers = torch.cat([internal[there], torch.zeros(6, dtype=torch.float64)])
    jacobian = torch.autograd.functional.jacobian(positions, numbers)
    # Near the identity a rotation by the vector w has the volume dw, of 8 pi^2 in all.
    expected = log_volume(internal[None])[0] - LOG_ROTATIONS
    assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(("coordinate", "value"), [(0, -0.1), (1, -0.2), (1, math.pi + 0.1)])
def test_what_cannot_be_has_no_volume(coordinate: int, value: float) -> None:
    internal = to_internal(shaken("GG", 2), scaffold_of("GG"))
    internal[1, 5, coordinate] = value
    assert torch.isfinite(log_volume(internal)).tolist() == [True, False]


def test_every_atom_of_a_peptide_has_a_key_of_its_own(sequence: str) -> None:
    """But for residues of one kind in the middle of one side: two hydrogens of a carbon are told apart."""
    scaffold = scaffold_of(sequence)
    assert len(set(scaffold.key.tolist())) == scaffold.n_atoms


def test_atoms_are_seen_from_atoms_placed_before(sequence: str) -> None:
    scaffold = scaffold_of(sequence)
    ranks = torch.arange(scaffold.n_atoms)
    for index in (scaffold.parent, scaffold.behind, scaffold.beside):
        assert (index[3:] < ranks[3:]).all()
    real = scaffold.context < scaffold.n_atoms
    assert (torch.where(real, scaffold.context, -1) < ranks[:, None]).all()
    assert sorted(torch.cat(scaffold.levels).tolist()) == ranks[3:].tolist()
    assert (scaffold.bonds_apart[ranks[3:], scaffold.parent[3:]] == 1).all()
    assert scaffold.bonds_apart.max() <= FAR_BONDS
