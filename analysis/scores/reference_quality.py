"""What a reader needs to judge a reference: its independent frames, and how far it is from itself and its floor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.metrics.registry import BY_NAME, DISTANCE_NAMES
from analysis.scores.cache import kept_numbers
from analysis.scores.convergence import ERRORS, WAYS, floor, statement
from analysis.scores.run import SCORE_VERSION
from prosebench.reference import Reference


def judged_floor(reference: Reference, cache: Path) -> dict[str, float]:
    """Floor (`analysis.scores.convergence.floor`) of a reference on as many frames as its convergence was judged by.

    The one that the file states may be of an older way to halve a reference. It is kept in cache, the folder `scores`
    of a run. Empty where the reference states nothing of its quality.
    """
    if not (reference.convergence and reference.floor):
        return {}
    return kept_floor(reference, int(reference.floor["frames"]), None, cache)


def kept_floor(reference: Reference, frames: int, against: int | None, cache: Path) -> dict[str, float]:
    """`analysis.scores.convergence.floor`, which takes a while, kept in the folder cache."""
    path = cache / f"floor-{reference.hash[:12]}-{frames}-{against or frames}-{SCORE_VERSION}.json"
    return kept_numbers(path, [*DISTANCE_NAMES, "frames"], lambda: floor(reference, frames, against))


def quality_statement(reference: Reference, cache: Path) -> str:
    """What is known of a reference in one paragraph; empty where it states nothing. cache: see `judged_floor`."""
    known = judged_floor(reference, cache)
    return statement(reference.convergence, known) if known else ""


def reference_quality(convergence: Mapping[str, Any], floor: Mapping[str, float]) -> dict[str, Any]:
    """What `analysis.scores.convergence` found, as the numbers of one table (JSON).

    `distances` has a line for each Distance: mean and largest distance of a group of trajectories to the pool of
    the others and the distances of other ways (WAYS), the floor, and the standard error that the reference adds to a
    score at the floor; each None where it was not measured.
    """
    spread = convergence["spread"]
    return {
        "frames": convergence["frames"],
        "trajectories": convergence["trajectories"],
        "groups": convergence["groups"],
        "compared_frames": int(floor["frames"]),
        "slowest": convergence["slowest"],
        "correlation_frames": convergence["correlation_frames"],
        "effective_frames": convergence["effective_frames"],
        "distances": [
            {
                "metric": name,
                "mean": spread[name]["mean"] if spread else None,
                "largest": spread[name]["max"] if spread else None,
                **{way: convergence.get(way, {}).get(name) for way in WAYS},
                "floor": floor[name],
                "error": convergence.get(ERRORS, {}).get(name),
            }
            for name in DISTANCE_NAMES
        ],
    }


def quality_view(quality: Mapping[str, Any]) -> dict[str, Any]:
    """The quality of a reference as texts: facts (name, value) and rows of a table; columns that were not
    measured are left out."""
    columns = {
        "mean": f"{quality['groups']} groups, mean",
        "largest": "largest",
        **WAYS,
        "floor": "floor",
        "error": "standard error that it adds",
    }
    lines = quality["distances"]
    measured = [name for name in columns if any(line.get(name) is not None for line in lines)]
    facts = [
        ("frames in all", f"{quality['frames']:,} in {quality['trajectories']:,} trajectories"),
        ("slowest observable", quality["slowest"]),
        ("correlated over", f"{quality['correlation_frames']:.3g} frames"),
        ("independent frames", f"{quality['effective_frames']:,.0f}"),
    ]
    return {
        "facts": facts,
        "compared_frames": f"{quality['compared_frames']:,}",
        "groups": quality["groups"] if "mean" in measured else 0,
        "ways": [WAYS[way] for way in WAYS if way in measured],
        "columns": [columns[name] for name in measured],
        "lines": [
            {"metric": BY_NAME[line["metric"]].label, "values": [f"{line[name]:.3g}" for name in measured]}
            for line in lines
        ],
    }
