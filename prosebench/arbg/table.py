"""The table that standardises internal coordinates: their mean and spread for each kind of atom, measured on training
data."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from prosebench.arbg.internal import to_internal
from prosebench.arbg.network import Table, no_coordinate
from prosebench.arbg.scaffold import ENDS, N_KEYS, Scaffold
from prosebench.flows.molecule.handedness import one_handed
from prosebench.training.data import TrainingData

FRAMES_A_PEPTIDE = 64
FEWEST = 32
"""A coordinate with fewer samples than this has no reliable mean and spread of its own. It takes those of the
same atom anywhere in the chain."""


def measure(data: TrainingData) -> Table:
    """The table of training data: FRAMES_A_PEPTIDE frames of each peptide, the first ones."""
    return table_of(_frames(data))


def table_of(peptides: Iterable[tuple[Tensor, Scaffold]]) -> Table:
    """The table of internal coordinates (frames, atoms, 3) of some peptides."""
    kept = list(peptides)
    directions = torch.zeros(3, N_KEYS, 1).double()
    for internal, scaffold in kept:
        dihedral = internal[..., 2].double()
        parts = torch.stack([torch.ones_like(dihedral), dihedral.sin(), dihedral.cos()])
        directions.index_add_(1, scaffold.key, parts.sum(dim=1)[..., None])
    _, sines, cosines = _with_neighbours(directions)[..., 0]
    middle = torch.atan2(sines, cosines)
    sums = torch.zeros(3, N_KEYS, 3).double()
    for internal, scaffold in kept:
        values = internal.double()
        deviation = values[..., 2] - middle[scaffold.key]
        values[..., 2] = torch.remainder(deviation + math.pi, 2 * math.pi) - math.pi
        there = (~no_coordinate(scaffold)).double()
        powers = torch.stack([torch.ones_like(values), values, values.square()]).sum(dim=1) * there
        sums.index_add_(1, scaffold.key, powers)
    return _table(_with_neighbours(sums), middle)


def _table(sums: Tensor, middle: Tensor) -> Table:
    number, total, squares = sums
    mean = total / number.clamp(min=1)
    std = (squares / number.clamp(min=1) - mean.square()).clamp(min=1e-12).sqrt()
    mean[:, 2] += middle
    return Table(mean, std, number)


def _with_neighbours(sums: Tensor) -> Tensor:
    """Sums (3, keys, coordinates) with those of rare keys replaced by the sums over all places in the chain.
    The first of the three counts samples, the other two sum powers or functions of the values. Keys that are
    joined also share the middle that their deviations are measured from."""
    by_end = sums.unflatten(1, (-1, ENDS))
    anywhere = by_end.sum(dim=2, keepdim=True).expand_as(by_end)
    return torch.where(by_end[:1] < FEWEST, anywhere, by_end).flatten(1, 2)


def _frames(data: TrainingData) -> Iterator[tuple[Tensor, Scaffold]]:
    left: dict[str, int] = {}
    for shard in data.shards:
        for sequence, frames in data.read(shard).items():
            number = min(len(frames), left.setdefault(sequence, FRAMES_A_PEPTIDE))
            left[sequence] -= number
            if number:
                topology = data.peptide(sequence).topology
                scaffold = Scaffold.of(topology)
                x = torch.from_numpy(one_handed(frames[:number], [topology]))[:, scaffold.order]
                yield to_internal(x, scaffold), scaffold
