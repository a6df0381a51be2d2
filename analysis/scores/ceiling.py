"""The ceiling: what one frame over and over scores, a sampler that never moves from where it was put."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.metrics.case import views
from analysis.metrics.score import compared
from analysis.metrics.weighting import PLAIN
from analysis.scores.run import load_reference
from analysis.scores.statuses import SCORED
from prosebench.ensemble import Ensemble
from prosebench.names import CEILING
from prosebench.reference import InvalidReferenceError, MissingReferenceError, Reference, find_reference


def with_ceiling(scores: pd.DataFrame, reference_folders: Sequence[Path] = ()) -> pd.DataFrame:
    """The long table with a row of method CEILING at every budget, suite, and seed of what has been scored.

    Seed i stands for the i-th frame of the reference's spare half: a frame of the same distribution, and not the
    start structure, whose energy would say more of its builder than of any sampler. A peptide without a reference
    has no ceiling.
    """
    scored = scores[scores["status"].isin(SCORED)]
    rows = []
    for (peptide, reference_hash), part in scored.groupby(["peptide", "reference"], sort=True):
        try:
            kelvin = float(part["temperature_kelvin"].iloc[0])
            path = find_reference(str(peptide), reference_folders, kelvin)
            reference = load_reference(path, path.stat().st_mtime_ns)
        except (MissingReferenceError, InvalidReferenceError):
            continue
        if not reference.hash.startswith(str(reference_hash)):
            continue
        known: dict[tuple[int, int], dict[str, float]] = {}
        for _, group in part.groupby(["suite", "budget", "seed"], sort=True):
            asked = int(group["frames"].max())
            seed = int(group["seed"].iloc[0]) % len(_unscored(reference))
            if (asked, seed) not in known:
                known[asked, seed] = stuck(reference, seed, asked)
            rows += [
                group.iloc[0].to_dict()
                | {"row": CEILING, "method": CEILING, "metric": name, "value": value, "frames": asked}
                | {
                    "status": "done",
                    "reason": "",
                    "cell_id": "",
                    "reference_error": np.nan,
                    "gap": np.nan,
                    "weighting": PLAIN,
                }
                for name, value in known[asked, seed].items()
            ]
    made = pd.DataFrame(rows, columns=list(scores.columns))
    return pd.concat([scores, made], ignore_index=True) if rows else scores


def stuck(reference: Reference, index: int, n_frames: int) -> dict[str, float]:
    """Distances between one spare frame and the first n_frames of the scored half.

    A single point stands for as many equal ones: every distance here depends on shares alone.
    """
    topology = reference.peptide.topology
    frame: Ensemble = _unscored(reference).select(slice(index, index + 1))
    truth = reference.scored.select(slice(0, n_frames))
    found = compared(*(views(side, reference.tica, topology) for side in (frame, truth)))
    return {name: number.value for name, number in found.items()}


def _unscored(reference: Reference) -> Ensemble:
    """Frames that are not scored against; of a reference all of which is, any."""
    return reference.spare if len(reference.spare) else reference.ensemble
