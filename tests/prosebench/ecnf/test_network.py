"""What an equivariant field must do, whatever its weights."""

import numpy as np
import pytest
import torch

from prosebench.ecnf.config import SHIPPED, EcnfConfig, load_size
from prosebench.ecnf.network import VelocityField
from prosebench.ecnf.nodes import Nodes
from prosebench.flows.sizes import ConfigError, names_in
from prosebench.frames.geometry import random_rotations
from prosebench.peptide import Peptide

from .conftest import GG, some, tiny_field


def test_the_field_turns_with_the_frame_and_is_blind_to_shifts_and_handedness() -> None:
    field = tiny_field()
    t, x, nodes = some(field)
    v = field(t, x, nodes)
    rotation = torch.from_numpy(random_rotations(np.random.default_rng(0), 1)[0])
    torch.testing.assert_close(field(t, x @ rotation, nodes), v @ rotation)
    torch.testing.assert_close(field(t, x + 3.0, nodes), v)
    torch.testing.assert_close(field(t, -x, nodes), -v)
    assert v.mean(dim=1).abs().max() < 1e-12
    assert (v - field(t + 0.1, x, nodes)).abs().max() > 1e-3


def test_equal_atoms_may_be_exchanged_and_others_may_not() -> None:
    field = tiny_field()
    t, x, nodes = some(field)
    v = field(t, x, nodes)
    names = GG.atom_names
    hydrogens = [i for i, name in enumerate(names) if name in ("H2", "H3")]
    unlike = [names.index("N"), names.index("CA")]
    for pair, same in ((hydrogens, True), (unlike, False)):
        order = np.arange(len(names))
        order[pair] = order[pair[::-1]]
        difference = (field(t, x[:, order], nodes) - v[:, order]).abs().max()
        assert (difference < 1e-12) if same else (difference > 1e-3)


def test_peptides_in_a_padded_batch_know_nothing_of_each_other() -> None:
    field = tiny_field()
    peptides = [Peptide.from_sequence(sequence) for sequence in ("GG", "AG")]
    atoms = max(peptide.n_atoms for peptide in peptides)
    nodes = Nodes.join([Nodes.of(peptide.topology, field.config) for peptide in peptides], atoms)
    nodes = nodes.to("cpu", torch.float64)
    t, x = torch.tensor([0.2, 0.6], dtype=torch.float64), torch.randn(2, atoms, 3, dtype=torch.float64)
    together = field(t, x, nodes)
    for i, peptide in enumerate(peptides):
        alone = Nodes.of(peptide.topology, field.config).to("cpu", torch.float64)
        expected = field(t[i : i + 1], x[i : i + 1, : peptide.n_atoms], alone)
        torch.testing.assert_close(together[i : i + 1, : peptide.n_atoms], expected)
        assert (together[i, peptide.n_atoms :] == 0).all()


def test_lengths_that_the_field_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match="peptides of 2 to 4 residues, and not of 5"):
        Nodes.of(Peptide.from_sequence("GGGGG").topology, tiny_field().config)


@pytest.mark.parametrize("name", names_in(SHIPPED))
def test_sizes(name: str) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in VelocityField(load_size(name)).parameters())
    expected = {"ecnf++_up_to_4aa": (3.9e6, 4.2e6), "tbg-mini": (0, 2**20)}[name]
    assert expected[0] < count < expected[1]


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown size 'tbg-maxi'; known: .*tbg-mini"):
        load_size("tbg-maxi")
    with pytest.raises(ValueError, match=r"residues_max \(1\) must be at least residues_min \(2\)"):
        EcnfConfig(channels=8, layers=2, residues_max=1)
