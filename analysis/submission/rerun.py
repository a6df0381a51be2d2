"""A cell that was run again at review, against the record that came along."""

from collections.abc import Iterator

from analysis.submission.frames import movement
from prosebench.ensemble import Ensemble
from prosebench.record import Record

SAME_BYTES, SAME_COSTS = "the same bytes", "the same costs"

MOVEMENT_FACTOR = 1.25
"""The largest factor between the ways from frame to frame in two runs of one cell on different machines."""

LEAST_FRAMES = 100
"""The smallest number of frames that are compared. The medians of fewer say little."""


def gives_equal_bytes(theirs: Record, ours: Record) -> bool:
    """Whether a cell that was run again must give the same bytes: by the same versions on the same target.

    Elsewhere (another instruction set, another library) trajectories part ways after a few hundred steps.
    """
    return (theirs.target, theirs.versions) == (ours.target, ours.versions)


def compare_rerun(theirs: Record, ours: Record, frames: tuple[Ensemble, Ensemble] | None = None) -> list[str]:
    """What a cell that was run again here says against the record that came along.

    Where `gives_equal_bytes` does not hold, frames are compared by how far one is from the next: budgets must be spent
    alike, preparation to a tenth, as a minimiser may stop elsewhere. frames are theirs and ours.
    """
    if gives_equal_bytes(theirs, ours):
        equal = theirs.ensemble_sha256 == ours.ensemble_sha256 and theirs.ledger == ours.ledger
        return [] if equal else ["running it again gives another ensemble or ledger"]
    reasons = []
    if theirs.status != ours.status:
        reasons.append(f"it says {theirs.status}, running it again says {ours.status}")
    for phase, share in (("sampling", 0.001), ("preparation", 0.1)):
        said, found = (getattr(record.ledger, phase).evaluations for record in (theirs, ours))
        if abs(said - found) > share * max(said, found):
            reasons.append(
                f"its ledger has {said:,} evaluations of {phase}, running it again takes {found:,}"
            )
    return reasons + (list(_other_frames(*frames)) if frames else [])


def _other_frames(theirs: Ensemble, ours: Ensemble) -> Iterator[str]:
    """Find frames that are spaced otherwise in time, or are of other dynamics: steps that were left out move
    them farther."""
    if len(theirs) != len(ours):
        yield f"it has {len(theirs):,} frames, running it again gives {len(ours):,}"
        return
    if len(theirs) < LEAST_FRAMES:
        return
    said, found = movement(theirs), movement(ours)
    if not 1.0 / MOVEMENT_FACTOR <= (said + 1e-9) / (found + 1e-9) <= MOVEMENT_FACTOR:
        yield (
            f"from one of its frames to the next, distances change by {said:.4g} nm (median); running it again gives "
            f"{found:.4g} nm"
        )
