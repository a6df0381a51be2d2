"""What a ledger, and the evaluations that frames claim, cannot be: arithmetic that needs no method."""

from collections.abc import Iterator

import numpy as np

from prosebench.ensemble import Ensemble
from prosebench.names import EXTERNAL
from prosebench.record import Record


def check_ledger(record: Record) -> Iterator[str]:
    """What cannot be in a ledger. A call that gives energies, gradients or both is one evaluation a frame."""
    budget = record.cell.budgets[-1]
    for phase, counts in (("sampling", record.ledger.sampling), ("preparation", record.ledger.preparation)):
        low, high = max(counts.energies, counts.gradients), counts.energies + counts.gradients
        if not low <= counts.evaluations <= high:
            yield (
                f"{phase} in its ledger has {counts.evaluations:,} evaluations, but {counts.energies:,} energies and "
                f"{counts.gradients:,} gradients, which are {low:,} to {high:,}"
            )
        if counts.failures > counts.evaluations:
            yield f"{phase} in its ledger has more failures than evaluations"
    if record.ledger.sampling.evaluations > budget:
        yield f"its ledger has {record.ledger.sampling.evaluations:,} evaluations at a budget of {budget:,}"


def check_claims(ensemble: Ensemble, record: Record) -> Iterator[str]:
    """What cannot be in the evaluations that frames claim.

    Every frame has an energy, and energies come through the meter: there are never more frames than evaluations. What
    was made elsewhere may be of a program that asks for no energies at all.
    """
    claims = ensemble.evaluations
    if claims is None:
        yield "its frames do not say when they were sampled"
        return
    if not len(claims):
        return
    spent, last = record.ledger.sampling.evaluations, int(claims.max())
    if last > spent or int(claims.min()) < 0:
        yield f"its frames were sampled after up to {last:,} evaluations, its ledger has {spent:,}"
    if (np.diff(claims) < 0).any():
        yield "its frames are not in the order in which they were sampled"
    if record.cell.method == EXTERNAL:
        return
    sorted_claims = np.sort(claims)
    # How many frames are there once a number of evaluations is spent.
    there = np.searchsorted(sorted_claims, sorted_claims, side="right")
    beyond = int(np.argmax(there - sorted_claims))
    if there[beyond] > sorted_claims[beyond]:
        yield (
            f"it has {there[beyond]:,} frames after {sorted_claims[beyond]:,} evaluations; a frame takes one at least"
        )
