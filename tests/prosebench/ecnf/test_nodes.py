"""What the velocity field knows of atoms: one code of each kind, and nothing of padding."""

from functools import cache

import pytest
import torch

from prosebench.ecnf.config import EcnfConfig
from prosebench.ecnf.nodes import Nodes
from prosebench.flows.molecule.conditions import ATOM_TYPES, RESIDUE_TYPES, conditions
from prosebench.peptide import Peptide

CONFIG = EcnfConfig(channels=8, layers=1, residues_min=2, residues_max=4)
WIDTHS = (len(ATOM_TYPES), CONFIG.residues_max, len(RESIDUE_TYPES), CONFIG.lengths)
topology_of = cache(lambda sequence: Peptide.from_sequence(sequence).topology)


@pytest.mark.parametrize("sequence", ["GG", "WPH"])
def test_every_atom_has_one_code_of_each_kind(sequence: str) -> None:
    nodes = Nodes.of(topology_of(sequence), CONFIG)
    assert nodes.features.shape == (1, topology_of(sequence).n_atoms, CONFIG.features)
    assert sum(WIDTHS) == CONFIG.features
    codes = conditions(topology_of(sequence))
    kinds = nodes.features[0].split(WIDTHS, dim=1)
    for kind, expected in zip(
        kinds, (codes.atom_type, codes.residue_position, codes.residue_type), strict=False
    ):
        assert (kind.sum(dim=1) == 1.0).all()
        assert (kind.argmax(dim=1).numpy() + 1 == expected).all()
    assert (kinds[3].argmax(dim=1) == len(sequence) - CONFIG.residues_min).all()
    assert nodes.real.all()


def test_padding_has_no_code_and_is_not_real() -> None:
    parts = [Nodes.of(topology_of(sequence), CONFIG) for sequence in ("GG", "WPH")]
    most = parts[1].real.shape[1] + 2
    joined = Nodes.join(parts, most)
    assert joined.features.shape[:2] == joined.real.shape == (2, most)
    for row, part in enumerate(parts):
        atoms = part.real.shape[1]
        assert torch.equal(joined.features[row, :atoms], part.features[0])
        assert not joined.features[row, atoms:].any()
        assert joined.real[row].tolist() == [True] * atoms + [False] * (most - atoms)


@pytest.mark.parametrize(("sequence", "length"), [("GGGGG", 5), ("GG", 2)])
def test_lengths_beyond_those_of_training_are_refused(sequence: str, length: int) -> None:
    config = CONFIG.model_copy(update={"residues_min": 3})
    with pytest.raises(ValueError, match=f"takes peptides of 3 to 4 residues, and not of {length}"):
        Nodes.of(topology_of(sequence), config)


def test_features_change_their_type_and_masks_do_not() -> None:
    moved = Nodes.of(topology_of("GG"), CONFIG).to("cpu", torch.float64)
    assert (moved.features.dtype, moved.real.dtype) == (torch.float64, torch.bool)
