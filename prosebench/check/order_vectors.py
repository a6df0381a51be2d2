"""Comparison of atom codes and autoregressive orders with stored tables (`atom_orders*.json[.gz]`)."""

import gzip
import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from prosebench.check.comparison import Check
from prosebench.flows.molecule.conditions import conditions
from prosebench.flows.molecule.orders import atom_order
from prosebench.peptide import Peptide
from prosebench.peptide.labels import atom_label


def check_atom_orders(path: Path) -> list[Check]:
    """Compare each quantity of a file over all its peptides.

    The file maps sequences to `atoms`, `atom_type`, `aa_type`, `aa_pos`, `seq_len` and `orders`. An error is
    the number of entries that differ, in the worst peptide, which a failed check names. Tolerance 0. Raises
    OSError or ValueError for a file that cannot be read, PeptideError for a sequence that is none.
    """
    data = path.read_bytes()
    tables = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    worst: dict[str, tuple[float, str]] = {}
    for sequence, table in tables.items():
        for quantity, error in _errors(sequence, table):
            worst[quantity] = max(worst.get(quantity, (0.0, "")), (error, sequence))
    return [
        Check(f"{quantity} ({sequence})" if error else quantity, error, 0.0)
        for quantity, (error, sequence) in worst.items()
    ]


def _errors(sequence: str, table: dict) -> Iterator[tuple[str, float]]:
    topology = Peptide.from_sequence(sequence).topology
    codes = conditions(topology)
    labels = [atom_label(atom) for atom in topology.atoms]
    yield "atoms", _differences(labels, table["atoms"])
    yield "atom_type", _differences(codes.atom_type.tolist(), table["atom_type"])
    yield "aa_type", _differences(codes.residue_type.tolist(), table["aa_type"])
    yield "aa_pos", _differences(codes.residue_position.tolist(), table["aa_pos"])
    yield "seq_len", _differences(codes.length.tolist(), table["seq_len"])
    for key, expected in table["orders"].items():
        order = [labels[i] for i in atom_order(topology, key)]
        yield f"order {key}", _differences(order, expected)


def _differences(ours: Sequence, theirs: Sequence) -> float:
    return float(sum(a != b for a, b in zip_longest(ours, theirs)))
