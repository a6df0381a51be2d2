"""Peptides in a batch: the codes of each are those it has alone, and padding is none of them."""

import pytest
import torch

from prosebench.flows.molecule.orders import atom_order
from prosebench.flows.molecule.tokens import Tokens, take
from tests.prosebench.prose.conftest import tiny_config, topology_of

ORDERS = (
    tuple(dict.fromkeys(tiny_config().orders)) if hasattr(tiny_config(), "orders") else ("backbone-first",)
)
SEQUENCES = ("GG", "WPH", "AL")


def of(*sequences: str, padded: int | None = None) -> Tokens:
    return Tokens.of([topology_of(sequence) for sequence in sequences], ORDERS, padded)


@pytest.mark.parametrize("padded", [None, 90])
def test_a_batch_holds_what_each_peptide_has_alone(padded: int | None) -> None:
    batch = of(*SEQUENCES, padded=padded)
    atoms = padded or max(topology_of(sequence).n_atoms for sequence in SEQUENCES)
    assert batch.mask.shape == (3, atoms)
    for row, sequence in enumerate(SEQUENCES):
        alone, n = of(sequence), topology_of(sequence).n_atoms
        for name in ("atom_type", "residue_type", "residue_position", "turns", "placing_order", "references"):
            mine, own = getattr(batch, name)[row], getattr(alone, name)[0]
            assert torch.equal(mine[:n], own), name
        for name in ("atom_type", "residue_type", "residue_position"):
            assert not getattr(batch, name)[row, n:].any(), name
        assert batch.mask[row].tolist() == [True] * n + [False] * (atoms - n)
        assert torch.equal(batch.orders[:, row, :n], alone.orders[:, 0])


def test_every_order_holds_every_place_once_and_padding_comes_last() -> None:
    batch = of(*SEQUENCES)
    atoms = batch.mask.shape[1]
    for order in (*batch.orders, batch.placing_order):
        assert torch.equal(order.sort(dim=1).values, torch.arange(atoms).expand(3, atoms))
    for row, sequence in enumerate(SEQUENCES):
        n = topology_of(sequence).n_atoms
        assert torch.equal(batch.orders[0, row, n:], torch.arange(n, atoms))
        assert batch.orders[0, row, :n].tolist() == atom_order(topology_of(sequence), ORDERS[0]).tolist()


def test_joining_kept_parts_is_making_them_together() -> None:
    joined, made = Tokens.join([of(sequence) for sequence in SEQUENCES]), of(*SEQUENCES)
    for name in ("atom_type", "length", "orders", "mask", "references"):
        assert torch.equal(getattr(joined, name), getattr(made, name)), name
    again = Tokens.join([made])
    assert torch.equal(again.orders, made.orders)


def test_values_are_taken_row_by_row_in_an_order() -> None:
    values = torch.arange(12.0).reshape(2, 3, 2)
    order = torch.tensor([[2, 0, 1]])
    assert take(values, order).tolist() == [[[4, 5], [0, 1], [2, 3]], [[10, 11], [6, 7], [8, 9]]]
    assert take(values[..., 0], torch.tensor([[2, 0, 1], [0, 1, 2]])).tolist() == [[4, 0, 2], [6, 8, 10]]
