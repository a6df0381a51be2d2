"""Results that somebody else made: checked from the frames up, and packed for a pull request.

Nothing that a run folder says of itself is taken on trust where it can be computed again: hashes, energies, scores.
What is packed are the scores that were recomputed, not those that came along.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.board.kept_runs import collect
from analysis.board.review import Review, read_review, write_review
from analysis.scores.run import StepsDone
from analysis.scores.statuses import SCORED
from analysis.scores.table import read_scores
from analysis.submission.archive import pack
from analysis.submission.cells import check_cells
from prosebench.inspection import Inspect, nothing_asked
from prosebench.store.storage import write_bytes

SCORE_TOLERANCE = 1e-3
"""The relative deviation that is allowed between a score and the one that was sent along. On another machine,
k-means may settle in another way."""


REMEDY = (
    "Nothing was written. Send cells as `prosebench run` left them; remove the folder of a cell that is named above, "
    "and the same `prosebench run` makes it again."
)


Rerun = Callable[[], tuple[Mapping[str, str], list[str]]]
"""A function that runs some cells again. It returns what each of them gave, by cell id, and the reasons
against others."""


class RefusedSubmission(ValueError):
    """Results that are not accepted; the message lists every reason."""

    def __init__(self, reasons: Sequence[str]) -> None:
        number = f"{len(reasons)} reason{'' if len(reasons) == 1 else 's'}"
        super().__init__(f"{number} against these results:\n  " + "\n  ".join(reasons) + f"\n{REMEDY}")
        self.reasons = tuple(reasons)


def submit(
    directory: Path,
    target: Path,
    reference_folders: Sequence[Path] = (),
    *,
    name: str = "",
    workers: int = 1,
    inspect: Inspect = nothing_asked,
    rerun: Rerun = lambda: ({}, []),
    progress: StepsDone | None = None,
) -> tuple[Path, Path]:
    """Check a run folder, keep it as `target/<name>` (see `analysis.board.kept_runs`), and pack its frames beside that.

    rerun is called once the cells have passed all other checks. Returns the folder, which goes into a pull request
    under results/runs, and the .tar file, which is put where the pull request can link to it: whoever reviews it runs
    the same command on it. Raises RefusedSubmission with all reasons; then nothing is written.
    """
    name = name or directory.resolve().name
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise ValueError(
            f"{name!r} is no name for a run: letters, digits and -_. alone; give one with --name"
        )
    checked = check_cells(directory, reference_folders, inspect=inspect, progress=progress)
    if checked.reasons:
        raise RefusedSubmission(checked.reasons)
    reruns, reasons = rerun()
    if reasons:
        raise RefusedSubmission(reasons)
    cells = {
        cell_id: seen.model_copy(update={"rerun": reruns.get(cell_id, "")})
        for cell_id, seen in checked.reviews.items()
    }
    review = Review(cells=cells).keeping(read_review(target / name))
    with tempfile.TemporaryDirectory() as scratch:
        # Scores that came along stay outside: the cells are scored as if for the first time.
        fresh = Path(scratch) / name
        fresh.mkdir()
        (fresh / "cells").symlink_to((directory / "cells").resolve(), target_is_directory=True)
        made = collect(
            fresh, Path(scratch) / "kept", reference_folders, name=name, workers=workers, progress=progress
        )
        recomputed = read_scores(made / "scores.csv")
        reasons = compare_scores(directory, recomputed)
        if reasons:
            raise RefusedSubmission(reasons)
        write_review(made, review)
        _replace(made, target / name)
    return target / name, pack(directory, target / f"{name}.tar", name)


def _replace(made: Path, folder: Path) -> None:
    """Make a folder of kept runs what `made` is: files that an earlier submission of the name left are removed."""
    files = {path.relative_to(made): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    for path in (folder / "peptides").glob("*.json"):
        if path.relative_to(folder) not in files:
            path.unlink()
    for name, content in sorted(files.items()):
        write_bytes(folder / name, content)


def compare_scores(directory: Path, recomputed: pd.DataFrame) -> list[str]:
    """The differences between scores that came along (scores.csv) and those of the frames; empty if no scores
    came along."""
    path = directory / "scores.csv"
    if not path.exists():
        return []
    claimed = read_scores(path)
    place = ["cell_id", "budget", "metric", "weighting", "reference"]
    sides = [
        table[table["status"].isin(SCORED) & (table["cell_id"] != "")] for table in (claimed, recomputed)
    ]
    both = sides[0].merge(sides[1], on=place, how="left", suffixes=("", "_found"))
    reasons = []
    close = np.isclose(both["value"], both["value_found"], rtol=SCORE_TOLERANCE, atol=1e-9, equal_nan=True)
    for line in both[~close].to_dict("records"):
        reasons.append(
            f"{line['peptide']}, {line['row']}, {line['budget']:,} evaluations, seed {line['seed']}: scores.csv says "
            f"{line['metric']} {line['value']:.6g}, its frames give {line['value_found']:.6g}"
        )
    if reasons:
        reasons.append(
            "where another version of prosebench scored, `prosebench score RUN_FOLDER` does it again"
        )
    return reasons
