import numpy as np
import pytest
import torch

from prosebench.arbg.internal import to_cartesian, to_internal
from prosebench.arbg.network import log_shape_density, standardised
from prosebench.arbg.sampling import NORMALS, UNIFORMS, draw
from prosebench.arbg.scaffold import ENDS
from prosebench.arbg.table import table_of

from .conftest import scaffold_of, shaken, tiny_network


def drawn(sequence: str, n: int, pair_channels: int = 4, seed: int = 0):
    network, scaffold = tiny_network(pair_channels), scaffold_of(sequence)
    rng = np.random.default_rng(seed)
    uniforms = torch.from_numpy(rng.random((n, scaffold.n_atoms, UNIFORMS)))
    normals = torch.from_numpy(rng.standard_normal((n, scaffold.n_atoms, NORMALS)))
    with torch.no_grad():
        known = network.know(scaffold)
        return network, known, *draw(network, known, uniforms, normals)


@pytest.mark.parametrize("pair_channels", [4, 0])
def test_a_draw_has_the_density_of_one_pass(sequence: str, pair_channels: int) -> None:
    network, known, internal, x, log_q = drawn(sequence, 20, pair_channels)
    torch.testing.assert_close(network(internal, known), log_q)
    torch.testing.assert_close(network(internal, known, x), log_q)
    torch.testing.assert_close(to_cartesian(internal, known.scaffold), x)


def test_an_atom_does_not_know_those_after_it(sequence: str) -> None:
    """The state that places an atom is the same whatever is placed from it on."""
    network, known, internal, _, _ = drawn(sequence, 2)
    with torch.no_grad():
        for rank in range(3, known.scaffold.n_atoms, 5):
            changed = internal.clone()
            changed[:, rank:] += 0.1
            states = [
                network.trunk(standardised(one, known), to_cartesian(one, known.scaffold), known)
                for one in (internal, changed)
            ]
            torch.testing.assert_close(states[0][:, :rank], states[1][:, :rank])
            if rank + 1 < known.scaffold.n_atoms:
                assert not torch.allclose(states[0][:, rank:], states[1][:, rank:])


def test_positions_of_placed_atoms_are_seen() -> None:
    """Atoms far along the chain move one another's densities, through attention that sees positions."""
    network, known, internal, _, _ = drawn("PHC", 1)
    turned = internal.clone()
    first_turn = int(known.scaffold.turns.nonzero()[0])
    turned[:, first_turn, 2] += 1.0
    with torch.no_grad():
        states = [
            network.trunk(standardised(one, known), to_cartesian(one, known.scaffold), known)[:, -1]
            for one in (internal, turned)
        ]
    assert (states[0] - states[1]).abs().max() > 1e-4


def test_the_gradient_is_that_of_differences() -> None:
    network, scaffold = tiny_network(), scaffold_of("GG")
    x = shaken("GG", 1).requires_grad_()

    def density(frames: torch.Tensor) -> torch.Tensor:
        return log_shape_density(network, to_internal(frames, scaffold), network.know(scaffold), frames)

    gradient = torch.autograd.grad(density(x).sum(), x)[0]
    direction = torch.from_numpy(np.random.default_rng(2).standard_normal(x.shape))
    step = 1e-6
    with torch.no_grad():
        slope = (density(x + step * direction) - density(x - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-5)


def test_the_table_standardises(sequence: str) -> None:
    scaffold = scaffold_of(sequence)
    internal = to_internal(shaken(sequence, 400, 0.003), scaffold)
    table = table_of([(internal, scaffold)])
    network = tiny_network()
    kept = network.mean.clone(), network.std.clone()
    try:
        network.set_table(table)
        with torch.no_grad():
            v = standardised(internal, network.know(scaffold))
    finally:
        network.mean, network.std = kept
    alone = torch.bincount(scaffold.key, minlength=len(table.mean))[scaffold.key] == 1
    alone[:3] = False
    assert v[:, alone, 0].mean(dim=0).abs().max() < 1e-3
    torch.testing.assert_close(
        v[:, alone, 1].std(dim=0), torch.ones(int(alone.sum())).double(), atol=0.01, rtol=0
    )


def test_an_end_of_the_chain_that_was_never_seen_has_the_numbers_of_the_others() -> None:
    """Also where their dihedral is far from 0."""
    scaffold = scaffold_of("PHC")
    internal = to_internal(shaken("PHC", 64, 0.002), scaffold)
    rank = int((internal[0, :, 2].sin().abs() * ~scaffold.turns).argmax())
    key = int(scaffold.key[rank])
    other = key - key % ENDS + (key + 1) % ENDS
    table = table_of([(internal, scaffold)])
    assert other not in scaffold.key.tolist()
    torch.testing.assert_close(table.mean[other], table.mean[key])
    torch.testing.assert_close(table.std[other], table.std[key])
