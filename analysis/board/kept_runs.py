"""Runs as they are kept for the leaderboard: records, scores and drawings of a run folder, without its frames.

`results/runs/<name>/` holds
  run.json          version of the scores, and what is known of each reference
  scores.csv        the long table of scores (analysis.scores.table.COLUMNS) with the ceiling, to nine digits
  records.jsonl     a line a finished cell: its record, its provenance, and the SHA-256 of its record.json
  peptides/         what the page of each peptide draws (analysis.board.maps)
  review.json       of a run that somebody else made: what was looked at (analysis.board.review)
Frames stay with whoever made them: a record holds the SHA-256 of its ensemble.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import ValidationError

from analysis.board.maps import peptide_drawings
from analysis.board.review import Review, read_review
from analysis.figures.every import selections
from analysis.figures.peptide_data import load_peptide
from analysis.scores.reference_quality import judged_floor, quality_statement, reference_quality
from analysis.scores.run import SCORE_VERSION, StepsDone, score_run
from analysis.scores.statuses import SCORED
from analysis.scores.table import FLOATS, read_scores, scored_places, write_scores
from analysis.scores.yardsticks import with_yardsticks
from analysis.tables.digits import kept
from prosebench.names import name_at
from prosebench.record import Cell, Provenance, Record, cell_folders, read_cell, read_provenance, read_record
from prosebench.reference import Reference, find_reference
from prosebench.store.storage import (
    DamagedFile,
    json_bytes,
    parse_json,
    read_json,
    write_bytes,
    write_json,
)

SCHEMA = 2


class KeptRecord(NamedTuple):
    """A record with where it was made, and the SHA-256 of its file."""

    record: Record
    provenance: Provenance | None
    sha256: str


@dataclass(frozen=True)
class KeptRun:
    """One folder of `results/runs`. references: by peptide at its temperature
    (`prosebench.names.name_at`), as `collect` describes them; records: by cell id.
    """

    name: str
    folder: Path
    score_version: int
    references: Mapping[str, Mapping[str, Any]]
    scores: pd.DataFrame
    records: Mapping[str, KeptRecord]
    review: Review = field(default_factory=Review)

    def drawings(self, suite: str, name: str) -> dict[str, Any] | None:
        """What the page of a peptide at its temperature (`name_at`) draws; None where no frames of it were there."""
        path = self.folder / "peptides" / f"{suite}-{name}.json"
        return read_json(path) if path.exists() else None


def collect(
    directory: Path,
    runs: Path,
    reference_folders: Sequence[Path] = (),
    *,
    name: str = "",
    workers: int = 1,
    progress: StepsDone | None = None,
) -> Path:
    """Score a run folder and keep it as `runs/<name>`, by default under its own name; returns that folder.

    The same records and references give the same bytes. What was kept under the name before is replaced. Raises
    FileNotFoundError for a folder without cells, DamagedFile for a record that cannot be read.
    """
    if not cell_folders(directory):
        raise FileNotFoundError(
            f"{directory} holds no cells; give a run folder, as `prosebench run` makes them"
        )
    folder = runs / (name or directory.resolve().name)
    scores = score_run(
        directory,
        reference_folders,
        workers=workers,
        progress=progress and (lambda *n: progress("scores", *n)),
    )
    shown = with_yardsticks(scores, reference_folders, directory=directory)
    references = {
        name_at(peptide, kelvin): Reference.load(find_reference(peptide, reference_folders, kelvin))
        for peptide, kelvin in scored_places(shown)
    }
    finished = {path.name: path for path in cell_folders(directory) if (path / "record.json").exists()}
    lines = [json.dumps(_kept(path), sort_keys=True, separators=(",", ":")) for path in finished.values()]
    ids = {read_cell(path).id: path for path in finished.values()}
    made = set()
    chosen = selections(scores)
    for number, choice in enumerate(chosen, start=1):
        place = name_at(choice.peptide, choice.temperature_kelvin)
        data = load_peptide(choice.peptide, references[place], choice.cells, ids)
        if data.damaged:
            raise DamagedFile("; ".join(data.damaged))
        said = quality_statement(references[place], directory / "scores")
        path = folder / "peptides" / f"{choice.suite}-{place}.json"
        write_bytes(path, _short_json(peptide_drawings(data, said)))
        made.add(path)
        if progress:
            progress("drawings", number, len(chosen))
    for path in set((folder / "peptides").glob("*.json")) - made:
        path.unlink()
    write_bytes(folder / "records.jsonl", "".join(f"{line}\n" for line in lines).encode())
    write_scores(folder, _rounded(shown))
    described = {
        place: _described(reference, directory / "scores") for place, reference in references.items()
    }
    write_json(
        folder / "run.json", {"schema": SCHEMA, "score_version": SCORE_VERSION, "references": described}
    )
    return folder


def read_runs(runs: Path) -> list[KeptRun]:
    """All runs kept in a folder, by name. Raises DamagedFile for one that was altered, naming the file."""
    found = [read_run(path.parent) for path in sorted(runs.glob("*/run.json"))]
    if not found:
        raise FileNotFoundError(
            f"{runs} holds no runs; `prosebench leaderboard RUN_FOLDER` keeps a finished run there"
        )
    return found


def read_run(folder: Path) -> KeptRun:
    """One kept run. Raises DamagedFile where a record is not the one that its hash and its id belong to."""
    head = read_json(folder / "run.json")
    if head.get("schema") != SCHEMA:
        raise DamagedFile(
            f"{folder / 'run.json'} has schema {head.get('schema')}; this prosebench reads {SCHEMA}: keep the run "
            "again with `prosebench leaderboard RUN_FOLDER`"
        )
    records = {}
    path = folder / "records.jsonl"
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            one = _read_line(parse_json(line))
        except (ValueError, KeyError, ValidationError) as error:
            raise DamagedFile(f"{path}, line {number}: {str(error).splitlines()[0]}") from error
        records[one.record.cell_id] = one
    scores = read_scores(folder / "scores.csv")
    unknown = sorted(set(scores.loc[scores["status"].isin(SCORED), "cell_id"]) - set(records) - {""})
    if unknown:
        raise DamagedFile(f"{folder / 'scores.csv'} has scores of cells without a record: {unknown[0]}")
    _check_methods(folder, scores, records)
    version, references = int(head["score_version"]), head["references"]
    return KeptRun(folder.name, folder, version, references, scores, records, read_review(folder))


def _check_methods(folder: Path, scores: pd.DataFrame, records: Mapping[str, KeptRecord]) -> None:
    """Raise DamagedFile where a line of the scores names another method than the record that it is of."""
    for cell_id, method in sorted(set(zip(scores["cell_id"], scores["method"], strict=True))):
        if cell_id in records and records[cell_id].record.cell.method != method:
            raise DamagedFile(
                f"{folder / 'scores.csv'} calls the method of {cell_id} {method}, its record does not"
            )


def _kept(folder: Path) -> dict[str, Any]:
    """The line of a finished cell."""
    # As this program writes them: a record from elsewhere may be laid out in any way.
    record = read_record(folder).model_dump(mode="json")
    there = (folder / "provenance.json").exists()
    return {
        "record": record,
        "provenance": read_provenance(folder).model_dump(mode="json") if there else None,
        "sha256": hashlib.sha256(json_bytes(record)).hexdigest(),
    }


def _read_line(content: dict[str, Any]) -> KeptRecord:
    record = Record.model_validate(content["record"])
    digest = hashlib.sha256(json_bytes(content["record"])).hexdigest()
    if digest != content["sha256"] or record.cell_id != Cell.model_validate(content["record"]["cell"]).id:
        raise DamagedFile(
            f"the record of {record.cell.folder_name} was altered after it was written; collect its run again"
        )
    where = content["provenance"]
    return KeptRecord(record, Provenance.model_validate(where) if where else None, digest)


def _described(reference: Reference, cache: Path) -> dict[str, Any]:
    """What a reader must know of a reference."""
    known = {name: kept(value) for name, value in judged_floor(reference, cache).items()}
    quality = reference_quality(reference.convergence, known) if known else None
    return {
        "hash": reference.hash,
        "frames": len(reference),
        "scored_frames": len(reference.scored),
        "kind": str(reference.source.get("kind", "own")),
        "total_ns": reference.source.get("total_ns"),
        "force_field_hash": reference.force_field_hash,
        "quality": quality,
    }


def _rounded(scores: pd.DataFrame) -> pd.DataFrame:
    made = scores.copy()
    for name in FLOATS:
        made[name] = made[name].map(kept)
    return made


def _short_json(content: Any) -> bytes:
    return (json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n").encode()
