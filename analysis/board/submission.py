"""Results that somebody else made: checked from the frames up, and packed for a pull request.

Nothing that a run folder says of itself is taken on trust where it can be computed again: hashes, energies, scores.
What is packed are the scores that were recomputed, not those that came along.
"""

import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.board.kept_runs import collect
from analysis.board.submission_checks import Progress, check_cells
from analysis.scores.statuses import SCORED
from analysis.scores.table import read_scores
from prosebench.record import Record, cell_folders
from prosebench.store.storage import DamagedFile, write_bytes

PACKED = ("cell.json", "record.json", "provenance.json", "failure.json", "ensemble.npz")
"""Files of a cell that are packed."""

SCORE_TOLERANCE = 1e-3
"""Relative deviation of a score from the one that came along: k-means may settle otherwise on another machine."""


REMEDY = (
    "Nothing was written. Send cells as `prosebench run` left them; remove the folder of a cell that is named above, "
    "and the same `prosebench run` makes it again."
)


class RefusedSubmission(ValueError):
    """Results that are not accepted; the message lists every reason."""

    def __init__(self, reasons: Sequence[str]) -> None:
        number = f"{len(reasons)} reason{'' if len(reasons) == 1 else 's'}"
        super().__init__(f"{number} against these results:\n  " + "\n  ".join(reasons) + f"\n{REMEDY}")
        self.reasons = tuple(reasons)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The run folder that a path is or, for a .tar file that `pack` wrote, that it holds."""
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with tarfile.open(path) as archive:
                _check_members(archive, path)
                archive.extractall(scratch, filter="data")
        except tarfile.TarError as error:
            raise DamagedFile(f"{path} is neither a run folder nor a .tar file of one ({error})") from error
        inside = sorted(Path(scratch).iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            raise DamagedFile(
                f"{path} does not hold one run folder; pack it with `prosebench submit-results`"
            )
        yield inside[0]


def _check_members(archive: tarfile.TarFile, path: Path) -> None:
    """Raise DamagedFile for a file that `pack` does not write, before anything is unpacked."""
    for member in archive:
        parts = member.name.split("/")
        is_packed = len(parts) == 4 and parts[1] == "cells" and parts[3] in PACKED and ".." not in parts
        if not (member.isfile() and is_packed):
            raise DamagedFile(
                f"{path} holds {member.name}, which is no file of a cell; pack it with `prosebench submit-results`"
            )


def submit(
    directory: Path,
    target: Path,
    reference_folders: Sequence[Path] = (),
    *,
    name: str = "",
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[Path, Path]:
    """Check a run folder, keep it as `target/<name>` (see `leaderboard_runs`), and pack its frames beside that.

    Returns the folder, which goes into a pull request under results/runs, and the .tar file, which is put where the
    pull request can link to it: whoever reviews it runs the same command on it. Raises RefusedSubmission with all
    reasons; then nothing is written.
    """
    name = name or directory.resolve().name
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise ValueError(
            f"{name!r} is no name for a run: letters, digits and -_. alone; give one with --name"
        )
    reasons = check_cells(directory, reference_folders, progress=progress)
    if reasons:
        raise RefusedSubmission(reasons)
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
    """Where scores that came along (scores.csv) are not those of the frames; empty where there are none."""
    path = directory / "scores.csv"
    if not path.exists():
        return []
    claimed = read_scores(path)
    place = ["cell_id", "budget", "metric", "reference"]
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


def gives_equal_bytes(theirs: Record, ours: Record) -> bool:
    """Whether a cell that was run again must give the same bytes: by the same versions on the same target.

    Elsewhere (another instruction set, another library) trajectories part ways after a few hundred steps.
    """
    return (theirs.target, theirs.versions) == (ours.target, ours.versions)


def compare_rerun(theirs: Record, ours: Record) -> list[str]:
    """What a cell that was run again here says against the record that came along.

    Where `gives_equal_bytes` does not hold, frames and energies are not compared: budgets must be spent alike,
    preparation to a tenth, as a minimiser may stop elsewhere.
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
    return reasons


def pack(directory: Path, path: Path, name: str) -> Path:
    """Write the cells of a run folder with their frames as a .tar file: equal cells give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for folder in cell_folders(directory):
            for file in (folder / one for one in PACKED):
                if file.exists():
                    member = tarfile.TarInfo(f"{name}/cells/{folder.name}/{file.name}")
                    member.size = file.stat().st_size
                    with file.open("rb") as content:
                        archive.addfile(member, content)
    partial.replace(path)
    return path
